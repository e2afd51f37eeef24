"""Simulated processes on a real PostgreSQL: what they ask takes real time, what they do is decided by the seed.

Leases run out by virtual time: a living process's lease lasts for ever in the database, and is ended there by the
simulation so many virtual seconds after the process was killed or stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.types.string import TextLoader

from tests.simulation.sites import EFFECTS, SLOTS, Bells
from windlass.engine.ports import Backend, Keeper, Ring
from windlass.engine.types import Event, InboxRow, RunHead
from windlass.storage import rows as shapes
from windlass.storage import schema
from windlass.storage.postgres.backend import PostgresBackend
from windlass.storage.postgres.session import PostgresSession
from windlass.storage.queries import micros
from windlass.testing.simulation.faults import Faults, FaultySession
from windlass.testing.simulation.process import LEASE_SECONDS, SimClock
from windlass.testing.simulation.sites import FaultyReader, Site, in_own_context

_EXPIRE = "UPDATE workflow_leases SET expires_at = clock_timestamp() - interval '1 second' WHERE holder = %s"
_LIVE = "SELECT 1 FROM workflow_leases WHERE holder = %s AND state = 'live' AND expires_at > clock_timestamp()"


@dataclass(slots=True)
class _Kept:
    """A lease as its process sees it."""

    lost: Callable[[], None]
    valid_until: float = math.inf


class PostgresSite(PostgresBackend):
    """A process on the server."""

    def __init__(self, store: SimPostgres, process: str, faults: Faults, committed: Callable[[], None]) -> None:
        super().__init__(store.dsn, clock=store.clock)
        self.backend: Backend = self
        self.reader: Any = FaultyReader(self.reader, process, faults)
        self._store = store
        self._process = process
        self._faults = faults
        self._committed = committed
        self._kept: dict[str, _Kept] = {}
        self._frozen: list[str] = []
        self._open: list[tuple[FaultySession, PostgresSession]] = []
        self._own: str | None = None

    def session(self) -> FaultySession:
        inner = self.write_session()
        session = FaultySession(inner, self._process, self._faults, self._committed, primitives=True)
        self._open.append((session, inner))
        return session

    @contextmanager
    def keep_lease(self, holder: str, ttl: float, lost: Callable[[], None]) -> Iterator[Keeper]:  # type: ignore[override]
        kept = self._kept[holder] = _Kept(in_own_context(lost))
        try:
            yield kept
        finally:
            if self._kept.pop(holder, None) is not None:
                self._store.expire_later(holder)

    @contextmanager
    def listen(self, holder: str, ring: Callable[[str], None]) -> Iterator[None]:
        self._own = holder
        with self._store.bells.listen(holder, ring):
            yield

    def ring(self, rings: Sequence[Ring]) -> None:
        self._store.bells.ring(list(rings), self._own)

    def crash(self) -> None:
        for session, inner in self._open:
            if not session.dead:
                session.dead = True
                inner._drop()
        for holder in self._kept:
            self._store.expire_later(holder)
        self._kept.clear()
        self.close()

    def freeze(self) -> None:
        self._frozen = list(self._kept)
        for holder in self._frozen:
            self._kept[holder].valid_until = self._store.clock.monotonic() + LEASE_SECONDS
            self._store.expire_later(holder)

    def thaw(self) -> None:
        for holder in self._frozen:
            kept = self._kept.get(holder)
            if kept is None:
                continue
            if self._store.spare(holder):
                kept.valid_until = math.inf
            else:
                kept.lost()
        self._frozen = []


class SimPostgres:
    """A migrated database on a server, emptied first."""

    name = "postgres"
    lease_seconds = 3600.0

    def __init__(self, dsn: str, clock: SimClock) -> None:
        self.dsn = dsn
        self.clock = clock
        self.bells = Bells()
        self._look = psycopg.connect(self.dsn, autocommit=True)
        self._look.adapters.register_loader("jsonb", TextLoader)
        names = [table.name for table in [*schema.metadata.sorted_tables, *EFFECTS.metadata.sorted_tables]]
        engine = sa.create_engine(self.dsn.replace("postgresql://", "postgresql+psycopg://"))
        EFFECTS.metadata.create_all(engine)
        engine.dispose()
        self._look.execute(f"TRUNCATE {','.join(names)}".encode())
        self._sites: list[PostgresSite] = []
        self._doomed: dict[str, Any] = {}
        self._journals: dict[str, list[Event]] = {}

    # leases by virtual time
    def expire_later(self, holder: str) -> None:
        """Let a lease run out that nobody renews any more."""
        if holder not in self._doomed:
            self._doomed[holder] = self.clock.later(LEASE_SECONDS, self._expire, holder)

    def _expire(self, holder: str) -> None:
        self._doomed.pop(holder, None)
        self._look.execute(_EXPIRE, (holder,))

    def spare(self, holder: str) -> bool:
        """Renew a lease just in time; False when it has run out, or was taken."""
        doom = self._doomed.pop(holder, None)
        if doom is not None:
            doom.cancel()
        return doom is not None and self.live(holder)

    # what checks see
    def site(self, process: str, faults: Faults, committed: Callable[[], None]) -> Site:
        site = PostgresSite(self, process, faults, committed)
        self._sites.append(site)
        return site

    def heads(self) -> dict[str, RunHead]:
        rows = self._ask(f"SELECT {','.join(shapes.HEAD)} FROM workflow_runs ORDER BY run_id")
        return {row[0]: RunHead(*row) for row in rows}

    def journal(self, run_id: str) -> list[Event]:
        journal = self._journals.setdefault(run_id, [])
        query = f"SELECT {','.join(shapes.EVENTS)} FROM workflow_events WHERE run_id = %s AND event_seq > %s"
        for row in self._ask(f"{query} ORDER BY event_seq", run_id, len(journal)):
            journal.append(Event(row[0], row[1], row[2], row[3], row[4], micros(row[5])))
        return journal

    def unread(self) -> dict[str, list[InboxRow]]:
        boxes: dict[str, list[InboxRow]] = {}
        for row in self._ask(
            f"SELECT {','.join(shapes.INBOX)} FROM workflow_inbox WHERE NOT consumed ORDER BY arrival"
        ):
            letter = InboxRow(row[0], row[1], row[2], row[3], row[4], row[5], micros(row[6]))
            boxes.setdefault(letter.run_id, []).append(letter)
        return boxes

    def live(self, holder: str) -> bool:
        return bool(self._ask(_LIVE, holder))

    def slots(self) -> list[tuple[str, str]]:
        return [(row[0], row[1]) for row in self._ask(SLOTS)]

    def ended(self, run_id: str) -> tuple[str | None, str | None]:
        row = self._ask("SELECT outputs_json, error FROM workflow_runs WHERE run_id = %s", run_id)[0]
        return row[0], row[1]

    def inputs(self, run_id: str) -> str:
        found: str = self._ask("SELECT inputs_json FROM workflow_runs WHERE run_id = %s", run_id)[0][0]
        return found

    def effects(self) -> list[tuple[str, str, str]]:
        return [(row[0], row[1], row[2]) for row in self._ask("SELECT run_id, path, token FROM effects")]

    def _ask(self, query: str, *values: object) -> list[Any]:
        return self._look.execute(query.encode(), values).fetchall()

    def close(self) -> None:
        for site in self._sites:
            site.crash()
        self._look.close()


def on_postgres(dsn: str) -> Callable[[SimClock], SimPostgres]:
    """Return what makes a store of the database at ``dsn``."""
    return partial(SimPostgres, dsn)
