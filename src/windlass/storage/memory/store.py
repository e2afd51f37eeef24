"""What outlives sessions and processes: the tables, the SQLite in RAM beside them, and who is alive."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from windlass.engine.ports import IdempotencyRow
from windlass.engine.types import TERMINAL, Event, InboxRow
from windlass.kernel.clock import Clock, SystemClock
from windlass.storage.lite import alchemy_view
from windlass.storage.memory.leases import LeaseRow, Life
from windlass.storage.memory.runs import RunTable
from windlass.storage.memory.tables import Table, UndoLog
from windlass.storage.schema import LIVE


@cache
def _live_tables() -> tuple[str, ...]:
    """Return what makes the tables beside the engine's own that runs write to."""
    return tuple(str(CreateTable(table).compile(dialect=sqlite.dialect())) for table in LIVE)


class InboxEntry(NamedTuple):
    """An inbox row, its place in the order of arrival, and whether it was only kept for its ``dedup_id``."""

    row: InboxRow
    arrival: int
    consumed: bool = False


class QueueRow(NamedTuple):
    """A queue's settings; ``limit`` None means unlimited."""

    limit: int | None
    paused: bool

    @property
    def restricted(self) -> bool:
        """Whether its runs start through a claim only."""
        return self.paused or self.limit is not None


class Inbox(Table[str, InboxEntry]):
    """Inbox rows by id, with what each run has not consumed yet and the dedup ids it has seen."""

    def __init__(self, undo: UndoLog) -> None:
        super().__init__(undo)
        self.unread: dict[str, set[str]] = {}
        self.seen: set[tuple[str, str, str]] = set()

    def _changed(self, key: str, old: InboxEntry | None, new: InboxEntry | None) -> None:
        for entry, present in ((old, False), (new, True)):
            if entry is None:
                continue
            row = entry.row
            if row.dedup_id is not None:
                (self.seen.add if present else self.seen.discard)((row.run_id, row.name, row.dedup_id))
            unread = self.unread.setdefault(row.run_id, set())
            if present and not entry.consumed:
                unread.add(key)
            else:
                unread.discard(key)
            if not unread:
                del self.unread[row.run_id]

    def unread_of(self, run_id: str) -> list[InboxRow]:
        """Return what a run has not consumed, in order of arrival."""
        entries = sorted((self[key] for key in self.unread.get(run_id, ())), key=lambda entry: entry.arrival)
        return [entry.row for entry in entries]


class Journals(Table[tuple[str, int], Event]):
    """Events by run and number."""

    def __init__(self, undo: UndoLog) -> None:
        super().__init__(undo)
        self._runs: dict[str, dict[int, Event]] = {}

    def _changed(self, key: tuple[str, int], old: Event | None, new: Event | None) -> None:
        run_id, seq = key
        journal = self._runs.setdefault(run_id, {})
        if old is not None:
            del journal[seq]
        if new is not None:
            journal[seq] = new
        if not journal:
            del self._runs[run_id]

    def of(self, run_id: str) -> list[Event]:
        """Return the journal of a run, in order."""
        journal = self._runs.get(run_id, {})
        return [journal[seq] for seq in sorted(journal)]


class Slots(Table[tuple[str, str], int]):
    """Which run has which numbered place of which limited queue, by queue and run."""

    def __init__(self, undo: UndoLog) -> None:
        super().__init__(undo)
        self._queues: dict[str, dict[str, int]] = {}

    def _changed(self, key: tuple[str, str], old: int | None, new: int | None) -> None:
        queue, run_id = key
        places = self._queues.setdefault(queue, {})
        if old is not None:
            del places[run_id]
        if new is not None:
            places[run_id] = new

    def of(self, queue: str) -> dict[str, int]:
        """Return the places taken in a queue, by run."""
        return self._queues.get(queue, {})


class Turn(NamedTuple):
    """A tenant's weight, when its last turn began (None: it had none), and the lane that it was for."""

    weight: int = 1
    turn: int | None = None
    lane: str = ""


class Seats(Table[tuple[str, str], bool]):
    """Which run counts against which limit, by limit and run."""

    def __init__(self, undo: UndoLog) -> None:
        super().__init__(undo)
        self._limits: dict[str, set[str]] = {}

    def _changed(self, key: tuple[str, str], old: bool | None, new: bool | None) -> None:
        name, run_id = key
        if new:
            self._limits.setdefault(name, set()).add(run_id)
        elif old:
            self._limits[name].discard(run_id)

    def taken(self, name: str) -> int:
        """Return how many runs count against a limit."""
        return len(self._limits.get(name, ()))


class MemoryStore:
    """A database in RAM. Sessions of any number of "processes" share it and may die; it stays.

    Args:
        clock: what leases run out by.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self.undo = UndoLog()
        self.runs = RunTable(self.undo)
        self.events = Journals(self.undo)
        self.inbox = Inbox(self.undo)
        self.keys: Table[tuple[str, str], IdempotencyRow] = Table(self.undo)
        self.leases: Table[str, LeaseRow] = Table(self.undo)
        self.queues: Table[str, QueueRow] = Table(self.undo)
        self.slots = Slots(self.undo)
        self.limits: Table[str, int] = Table(self.undo)
        self.seats = Seats(self.undo)
        self.turns: Table[str, Turn] = Table(self.undo)
        self.commits: Table[str, int] = Table(self.undo)
        self.arrivals = 0
        self.life = Life(self.clock)
        self.doorbells: dict[str, Callable[[str], None]] = {}
        self.raw = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.sql = alchemy_view(self.raw)
        for statement in _live_tables():
            self.raw.execute(statement)
        self._turn = threading.Lock()
        self._writer: int | None = None

    def acquire(self) -> None:
        """Wait for the one turn to write (or to read something whole).

        Raises:
            RuntimeError: this thread has it already and would wait for itself.
        """
        if self._writer == threading.get_ident():
            raise RuntimeError("this thread has a transaction open on the store already")
        self._turn.acquire()
        self._writer = threading.get_ident()

    def try_acquire(self) -> bool:
        """Take the turn if it is free; says whether it did."""
        taken = self._turn.acquire(blocking=False)
        if taken:
            self._writer = threading.get_ident()
        return taken

    def release(self) -> None:
        """Give the turn back."""
        self._writer = None
        self._turn.release()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have the turn for a block."""
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def create_tables(self, metadata: sa.MetaData) -> None:
        """Create tables in the SQLite in RAM, for the SQL of transactional steps and contexts."""
        with self.turn():
            self.raw.execute("BEGIN")
            metadata.create_all(self.sql)
            self.raw.execute("COMMIT")

    def is_live(self, holder: str) -> bool:
        """Say whether a lease holds now."""
        return self.life.is_live(holder, self.leases.get(holder))

    def thaw(self, holder: str) -> None:
        """Let a frozen process go on: it renews its lease, or hears that it is lost."""
        self.life.thaw(holder, self.leases.get(holder))

    def restricted_queues(self) -> frozenset[str]:
        """Return the queues that are paused or limited."""
        return frozenset(queue for queue, row in self.queues.items() if row.restricted)

    def closed_queues(self) -> frozenset[str]:
        """Return the queues that take no run now; ``*`` among them stands for all."""
        return frozenset(queue for queue in self.queues if self.room(queue) <= 0)

    def room(self, queue: str) -> float:
        """Return how many more runs of a queue may be held; ``*`` is all of them."""
        row = self.queues.get(queue)
        if row is None or not row.restricted:
            return float("inf")
        if row.paused or row.limit is None:
            return 0
        return row.limit - len(self.slots.of(queue))

    def is_forsaken(self, child: str) -> bool:
        """Say whether a run is open and, when held, has not been told to cancel."""
        head = self.runs[child].head
        if head.status in TERMINAL:
            return False
        return head.holder is None or all(row.kind != "cancel" for row in self.inbox.unread_of(child))

    def dead_holders(self) -> list[str]:
        """Return holders that are dead and not yet forgotten, in id order."""
        return sorted(holder for holder in self.leases if not self.is_live(holder))

    def close(self) -> None:
        """Forget everything."""
        self.sql.close()
        self.sql.engine.dispose()
        self.raw.close()
