"""Simulated processes on a real SQLite file: every statement may fail, kill the process, or lose its answer."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.simulation.sites import EFFECTS, SLOTS, Bells
from windlass.engine.ports import Backend, Ring
from windlass.engine.types import Event, InboxRow, RunHead
from windlass.kernel.clock import from_iso
from windlass.storage import rows as shapes
from windlass.storage import schema
from windlass.storage.sqlite.backend import FileLease, SqliteBackend
from windlass.storage.sqlite.session import SqliteSession, connect
from windlass.storage.sqlite.transaction import SqliteTransaction
from windlass.testing.simulation.faults import Away, Fate, Faults, FaultySession, Refused
from windlass.testing.simulation.process import LEASE_SECONDS
from windlass.testing.simulation.sites import FaultyReader, Site

_READING = ("SELECT", "PRAGMA JOURNAL", "PRAGMA SYNC", "PRAGMA TEMP", "PRAGMA BUSY", "PRAGMA WAL_AUTO", "ROLLBACK")
_SMALL_WAL = 16 * 1024


class FaultyConnection(sqlite3.Connection):
    """A connection whose statements may go wrong; ``arm`` it first."""

    _faults: Faults | None = None
    _process = ""
    _committed: Callable[[], None]

    def arm(self, process: str, faults: Faults, committed: Callable[[], None]) -> None:
        """Let things go wrong from now on."""
        self._process, self._faults, self._committed = process, faults, committed

    def disarm(self) -> None:
        """Let nothing go wrong any more."""
        self._faults = None

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        if self._faults is None:
            return super().execute(sql, parameters)
        if sql == "COMMIT":
            return self._commit(self._faults)
        self._strike(self._faults, sql)
        return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        if self._faults is not None:
            self._strike(self._faults, sql)
        return super().executemany(sql, parameters)

    def _strike(self, faults: Faults, sql: str) -> None:
        writes = not sql.lstrip().upper().startswith(_READING)
        try:
            faults.statement(self._process, " ".join(sql.split())[:40], writes=writes)
        except Away as error:
            raise sqlite3.OperationalError(str(error)) from error
        except Refused as error:
            raise sqlite3.OperationalError(f"near {error}: syntax error") from error

    def _commit(self, faults: Faults) -> sqlite3.Cursor:
        fate = faults.commit(self._process)
        if fate is Fate.CRASH_BEFORE:
            faults.crash(self._process, "commit")
        if fate is Fate.LOST_BEFORE or faults.full:
            raise sqlite3.OperationalError("database or disk is full")
        cursor = super().execute("COMMIT")
        self._committed()
        if fate is Fate.CRASH_AFTER:
            faults.crash(self._process, "commit")
        if fate is Fate.LOST_AFTER:
            raise sqlite3.OperationalError("disk I/O error")
        return cursor


class SimSqliteSession(SqliteSession):
    """A session on connections that go wrong, with a WAL small enough to be moved now and then."""

    def __init__(self, site: SqliteSite, process: str, faults: Faults, committed: Callable[[], None]) -> None:
        def opened(path: str) -> sqlite3.Connection:
            raw = connect(path, durable=False, factory=FaultyConnection)
            assert isinstance(raw, FaultyConnection)
            raw.arm(process, faults, committed)
            return raw

        super().__init__(site.path, site.folder, opened)
        self._mark = _SMALL_WAL

    def begin(self, marker: int) -> SqliteTransaction:
        if self._mark > _SMALL_WAL:
            self._mark = min(self._mark, 4 * _SMALL_WAL)
        return super().begin(marker)

    def rollback(self) -> None:
        """Roll back as SQLite does for a dead process too: nothing can go wrong with that."""
        super().rollback()

    def end(self) -> None:
        """Let the operating system take back connection and locks."""
        if isinstance(self._raw, FaultyConnection):
            self._raw.disarm()
        self.rollback()
        self._drop()
        self._turn.close()


class SqliteSite(SqliteBackend):
    """A process on the file."""

    def __init__(self, path: Path, bells: Bells, process: str, faults: Faults, committed: Callable[[], None]) -> None:
        super().__init__(path)
        self.backend: Backend = self
        self.reader: Any = FaultyReader(self.reader, process, faults)
        self._bells = bells
        self._process = process
        self._faults = faults
        self._committed = committed
        self._locks: dict[str, int] = {}
        self._open: list[tuple[FaultySession, SimSqliteSession]] = []

    def session(self) -> FaultySession:
        inner = SimSqliteSession(self, self._process, self._faults, self._committed)
        session = FaultySession(inner, self._process, self._faults, self._committed, primitives=False)
        self._open.append((session, inner))
        return session

    @contextmanager
    def keep_lease(self, holder: str, ttl: float, lost: Callable[[], None]) -> Iterator[FileLease]:
        self._locks[holder] = self.folder.lock_holder(holder)
        try:
            yield FileLease()
        finally:
            if holder in self._locks:
                os.close(self._locks.pop(holder))
                self.folder.forget_holder(holder)

    @contextmanager
    def listen(self, holder: str, ring: Callable[[str], None]) -> Iterator[None]:
        self._holder = holder
        with self._bells.listen(holder, ring):
            yield

    def ring(self, rings: Sequence[Ring]) -> None:
        self._bells.ring(list(rings), self._holder)

    def crash(self) -> None:
        for session, inner in self._open:
            if not session.dead:
                session.dead = True
                inner.end()
        for descriptor in self._locks.values():
            os.close(descriptor)
        self._locks.clear()
        self.engine.dispose()

    def freeze(self) -> None:
        """A stopped process keeps its file lock: nothing happens."""

    def thaw(self) -> None:
        """Nothing had happened."""


@cache
def _template() -> bytes:
    with tempfile.TemporaryDirectory(prefix="windlass-sim-") as folder:
        path = Path(folder) / "template.db"
        engine = sa.create_engine(f"sqlite:///{path}")
        schema.metadata.create_all(engine)
        EFFECTS.metadata.create_all(engine)
        engine.dispose()
        connect(str(path), durable=False).close()
        return path.read_bytes()


class SimSqlite:
    """The file, in a folder of its own."""

    name = "sqlite"
    lease_seconds = LEASE_SECONDS

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="windlass-sim-"))
        self._path = self._folder / "w.db"
        self._path.write_bytes(_template())
        self._bells = Bells()
        self._sites: list[SqliteSite] = []
        self._look = connect(str(self._path), durable=False)
        self._journals: dict[str, list[Event]] = {}
        self._read_to = 0

    def site(self, process: str, faults: Faults, committed: Callable[[], None]) -> Site:
        site = SqliteSite(self._path, self._bells, process, faults, committed)
        self._sites.append(site)
        return site

    def heads(self) -> dict[str, RunHead]:
        rows = self._look.execute(f"SELECT {','.join(shapes.HEAD)} FROM workflow_runs").fetchall()
        return {row[0]: RunHead(*row) for row in rows}

    def journal(self, run_id: str) -> list[Event]:
        columns = ",".join(shapes.EVENTS)
        rows = self._look.execute(
            f"SELECT rowid,{columns} FROM workflow_events WHERE rowid > ? ORDER BY rowid", (self._read_to,)
        ).fetchall()
        for row in rows:
            event = Event(row[1], row[2], row[3], row[4], row[5], from_iso(row[6]))
            self._journals.setdefault(event.run_id, []).append(event)
            self._read_to = row[0]
        return self._journals.get(run_id, [])

    def unread(self) -> dict[str, list[InboxRow]]:
        boxes: dict[str, list[InboxRow]] = {}
        for row in self._look.execute(
            f"SELECT {','.join(shapes.INBOX)} FROM workflow_inbox WHERE NOT consumed ORDER BY arrival"
        ):
            letter = InboxRow(row[0], row[1], row[2], row[3], row[4], row[5], from_iso(row[6]))
            boxes.setdefault(letter.run_id, []).append(letter)
        return boxes

    def live(self, holder: str) -> bool:
        row = self._look.execute("SELECT state FROM workflow_leases WHERE holder = ?", (holder,)).fetchone()
        return row is not None and row[0] == "live" and any(holder in site._locks for site in self._sites)

    def slots(self) -> list[tuple[str, str]]:
        return self._look.execute(SLOTS).fetchall()

    def ended(self, run_id: str) -> tuple[str | None, str | None]:
        row = self._look.execute("SELECT outputs_json, error FROM workflow_runs WHERE run_id = ?", (run_id,)).fetchone()
        return row[0], row[1]

    def inputs(self, run_id: str) -> str:
        found: str = self._look.execute("SELECT inputs_json FROM workflow_runs WHERE run_id = ?", (run_id,)).fetchone()[
            0
        ]
        return found

    def effects(self) -> list[tuple[str, str, str]]:
        return self._look.execute("SELECT run_id, path, token FROM effects ORDER BY rowid").fetchall()

    def close(self) -> None:
        for site in self._sites:
            site.crash()
        self._look.close()
        shutil.rmtree(self._folder)
