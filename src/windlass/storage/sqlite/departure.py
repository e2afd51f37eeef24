"""The SQLite file that an installation leaves: read while it is written to, drained, frozen, and marked as moved."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from windlass.engine.control import TAKEOVER, TakeoverRequest
from windlass.kernel.clock import Clock, to_iso
from windlass.kernel.errors import Conflict
from windlass.storage.moving.marks import PLACE, Mark
from windlass.storage.moving.shapes import Row, Shape
from windlass.storage.sqlite.folder import RunFolder, TurnLock
from windlass.storage.sqlite.session import SqliteSession, connect

PAGE = 5_000
"""Rows read at a time while others write: a longer look would keep the log of the file from being emptied."""


class Holder(NamedTuple):
    """A process that still has its lease, and how many runs it holds."""

    holder: str
    host: str
    pid: int
    runs: int


class Departure:
    """The old database. Use it as a context manager.

    Args:
        path: its file.
        clock: the one clock.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path.absolute()
        self._clock = clock
        self._folder = RunFolder(self.path)
        self._turn = TurnLock(self._folder.path)
        self._raw = connect(str(self.path))
        self._raw.text_factory = bytes
        self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()
        self._turn.close()
        if self._lock >= 0:
            os.close(self._lock)

    def alone(self) -> None:
        """Make sure that this is the only move of the file.

        Raises:
            Conflict: another one is at work.
        """
        self._lock = os.open(self._folder.path / "move.lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another `windlass db move` of {self.path} is at work: wait for it") from None

    # looking
    @property
    def size(self) -> int:
        """Bytes of the file and its log."""
        log = self.path.with_name(f"{self.path.name}-wal")
        return self.path.stat().st_size + (log.stat().st_size if log.exists() else 0)

    def tables(self) -> set[str]:
        """Return the names of its tables."""
        found = self._raw.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        return {row[0].decode() for row in found}

    def count(self, shape: Shape) -> int:
        """Return how many rows a table has."""
        return int(self._raw.execute(f'SELECT count(*) FROM "{shape.name}"').fetchone()[0])

    def open_runs(self) -> dict[str, int]:
        """Return how many runs that have not ended are in which status."""
        found = self._raw.execute(
            "SELECT status, count(*) FROM workflow_runs WHERE status NOT IN ('succeeded', 'failed', 'cancelled')"
            " GROUP BY status ORDER BY status"
        )
        return {row[0].decode(): row[1] for row in found}

    # reading
    def last(self, shape: Shape) -> tuple[int, Row | None]:
        """Return the number of the newest row of a table whose rows are only added, and the row."""
        row = self._raw.execute(
            f'SELECT rowid, {shape.listed} FROM "{shape.name}" ORDER BY rowid DESC LIMIT 1'
        ).fetchone()
        return (0, None) if row is None else (row[0], row[1:])

    def numbered(self, shape: Shape, number: int) -> Row | None:
        """Return the row of a number."""
        found: Row | None = self._raw.execute(
            f'SELECT {shape.listed} FROM "{shape.name}" WHERE rowid = ?', (number,)
        ).fetchone()
        return found

    def numbered_rows(self, shape: Shape, upto: int) -> Iterator[Row]:
        """Yield the rows up to a number, in pages between which others can empty the file's log."""
        wanted = f"WHERE rowid > ? AND rowid <= ? ORDER BY rowid LIMIT {PAGE}"
        query = f'SELECT rowid, {shape.listed} FROM "{shape.name}" {wanted}'
        after = before = 0
        while True:
            for row in self._raw.execute(query, (after, upto)):
                after = row[0]
                yield row[1:]
            if after == before:
                return
            before = after

    def rows(self, shape: Shape, since: int | None = None, upto: int | None = None) -> Iterator[Row]:
        """Yield rows in the order of their key: all, those after a number, or those up to one."""
        where, bound = "", tuple[int, ...]()
        if since is not None:
            where, bound = "WHERE rowid > ?", (since,)
        elif upto is not None:
            where, bound = "WHERE +rowid <= ?", (upto,)  # the plus keeps to the key's index: nothing is sorted
        cursor = self._raw.execute(f'SELECT {shape.listed} FROM "{shape.name}" {where} ORDER BY {shape.ordered}', bound)
        yield from cursor

    # the mark
    def mark(self) -> Mark | None:
        """Return the mark of a move."""
        row = self._raw.execute("SELECT state, move_id, other, at FROM database_moves").fetchone()
        return None if row is None else Mark(*(cell.decode() for cell in row))

    def put_mark(self, state: str, move_id: str, other: str) -> None:
        """Mark the database; its processes see it within a second or so."""
        with self._writing():
            self._put_mark(state, move_id, other)

    def _put_mark(self, state: str, move_id: str, other: str) -> None:
        self._raw.execute(
            "INSERT INTO database_moves (place, state, move_id, other, at) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (place) DO UPDATE SET state = excluded.state, move_id = excluded.move_id,"
            " other = excluded.other, at = excluded.at",
            (PLACE, state, move_id, other, to_iso(self._clock.now())),
        )

    def take_mark(self) -> None:
        """Remove the mark: processes go on."""
        with self._writing():
            self._raw.execute("DELETE FROM database_moves")

    def freeze(self, move_id: str, other: str) -> list[Holder]:
        """Close the database to all writers unless one still has its lease; returns those that have."""
        with self._writing():
            found = self._holders()
            if not found:
                self._put_mark("frozen", move_id, other)
        return found

    def _holders(self) -> list[Holder]:
        found = self._raw.execute(
            "SELECT holder, host, pid, (SELECT count(*) FROM workflow_runs r WHERE r.holder = l.holder)"
            " FROM workflow_leases l ORDER BY started_at"
        ).fetchall()
        holders = [Holder(row[0].decode(), row[1].decode(), row[2], row[3]) for row in found]
        return [one for one in holders if one.runs or not self._folder.holder_is_dead(one.holder)]

    def bury(self) -> None:
        """Give back the runs of processes that died, as another process would."""
        session = SqliteSession(self.path, self._folder)
        try:
            for number, holder in enumerate(self._dead(), 1):
                left = True
                while left:
                    tx = session.begin(number)
                    request = TakeoverRequest(holder, False, self._clock.now())
                    [answer] = TAKEOVER.apply(tx, [request])
                    if isinstance(answer, Exception):
                        raise answer
                    left = answer > 0
                    if not left:
                        tx.forget_lease(holder)
                    session.commit()
        finally:
            session.close()

    def _dead(self) -> list[str]:
        holders = [row[0].decode() for row in self._raw.execute("SELECT holder FROM workflow_leases")]
        return [holder for holder in holders if self._folder.holder_is_dead(holder)]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._turn.acquire()
        try:
            self._raw.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._raw.execute("ROLLBACK")
                raise
            self._raw.execute("COMMIT")
        finally:
            self._turn.release()
