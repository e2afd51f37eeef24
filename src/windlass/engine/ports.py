"""What storage must offer the engine.

The rules of the journal (numbers, fences, survivors, wake-ups) are written once, in ``journal.py`` and
``control.py``, over the primitives of ``Transaction``. A backend only moves rows, so the three of them cannot
disagree about the rules; the conformance suite in ``tests/storage`` holds them to the primitives.

Everything here is synchronous: a transaction lives on one thread, the committer's or a transactional step's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, TypeVar

from windlass.engine.types import (
    ClaimedRun,
    Ended,
    Event,
    InboxRow,
    LaneClaim,
    Lease,
    NewRun,
    Poll,
    RunFilter,
    RunHead,
    RunView,
)
from windlass.kernel.clock import Clock
from windlass.kernel.lanes import LaneRules

T = TypeVar("T")


class Ring(NamedTuple):
    """A doorbell to ring after the commit.

    ``kind`` is ``ready`` (a run can be claimed), ``inbox`` (something new for a held run), ``ended``, ``news`` (of a
    run that is followed), ``follow`` (a run is followed here), or for this process alone ``orphans`` (an ended run has
    children left to be cancelled).
    """

    kind: str
    run_id: str
    holder: str | None = None
    inbox: InboxRow | None = None


class IdempotencyRow(NamedTuple):
    """A key's claim on a run; times are microseconds."""

    scope: str
    key: str
    run_id: str
    request_hash: str
    expires_at: int


class Slot(NamedTuple):
    """One place of a limited queue."""

    queue: str
    number: int


RunOutcome = tuple[RunHead, str | None, str | None, int | None]
"""A run's head, its outputs and error as JSON text, and when it ended."""


class Transaction(Protocol):
    """Row primitives inside one open write transaction. Times are integer microseconds, payloads JSON text."""

    heads: dict[str, RunHead]
    """The runs locked so far, by id; rules change them in place and write them back with ``write_heads``."""
    rings: list[Ring]
    """Doorbells to ring once the transaction has committed; dropped when it is rolled back."""
    written: list[Event]
    """The events appended so far, likewise."""

    # ownership
    def lease_is_live(self, holder: str) -> bool:
        """Lock the lease row in share mode and say whether it is live by database time."""
        ...

    def code_done(self, holder: str) -> None:
        """Hear that the user's code is done: from here on a process that stands still holds nobody up for its time.

        The lease of ``holder`` may be asked for along with what comes next, and is locked then.
        """
        ...

    def add_lease(self, lease: Lease, ttl: float) -> None:
        """Insert a live lease that lasts ``ttl`` seconds of database time (ignored where a file lock is held)."""
        ...

    def end_lease(self, holder: str, *, force: bool) -> bool:
        """Lock a lease exclusively and mark it dead unless it is live; ``force`` marks it anyway. True: it is dead."""
        ...

    def forget_lease(self, holder: str) -> None:
        """Delete a lease that has been marked dead, once it holds no run; who has none is as dead."""
        ...

    def dead_holders(self) -> list[str]:
        """Return holders that are dead or expired and not yet forgotten."""
        ...

    def held_runs(self, holder: str, limit: int) -> list[str]:
        """Return ids of open runs of one holder, in id order."""
        ...

    # runs
    def lock_runs(self, run_ids: Iterable[str]) -> Mapping[str, RunHead]:
        """Lock runs in id order and remember their heads; unknown ids are left out."""
        ...

    def insert_runs(self, runs: Sequence[NewRun]) -> None:
        """Insert new runs; their ids must be new."""
        ...

    def bump_runs(self, heads: Sequence[RunHead]) -> None:
        """Write back ``last_seq`` and ``deaths``, where no more was changed (the hot path touches no index)."""
        ...

    def note_failures(self, rows: Sequence[tuple[str, int]]) -> None:
        """Remember of each run the highest number, from 1, of an attempt of one of its steps that failed."""
        ...

    def bind_runs(self, rows: Sequence[tuple[str, str]]) -> None:
        """Bind runs to versions of their workflows."""
        ...

    def write_heads(self, heads: Sequence[RunHead]) -> None:
        """Write back every changeable column of the heads."""
        ...

    def finish_runs(self, rows: Sequence[RunOutcome]) -> None:
        """Write heads back, all of each, with outputs, error and ``ended_at``; all None reopens a run."""
        ...

    def open_children(self, run_ids: Sequence[str], limit: int) -> list[str]:
        """Return ids of up to ``limit`` open child runs of these runs; held ones only until told to cancel."""
        ...

    def claim_ready(
        self, holder: str, codes: Sequence[str], queues: Sequence[str] | None, limit: int
    ) -> list[ClaimedRun]:
        """Take up to ``limit`` ready runs of these codes, best first: priority, woken before new, longest ready.

        Skips runs that others have locked, and queues that are paused or at their limit; sets ``holder`` and
        clears ``ready_at``. Sets ``claim_rank`` to resumed. Journals and inboxes are loaded by the caller.
        """
        ...

    def claim_lanes(
        self, holder: str, codes: Sequence[str], queues: Sequence[str] | None, limit: int, rules: LaneRules, cursor: str
    ) -> LaneClaim:
        """Take up to ``limit`` ready runs of lanes, each with a seat of every limit that it shares.

        Tenants take turns by weight, lanes within a tenant take turns, and within a lane the longest ready goes first;
        each step of priority, and being woken, count as ``ageing`` of waiting. Looks at a bounded number of tenants,
        those after ``cursor``, and of lanes, and never at the runs behind a full limit.
        """
        ...

    def take_seats(self, runs: Sequence[NewRun], rules: LaneRules, now: int) -> frozenset[str]:
        """Give runs of lanes that are about to be inserted a seat of every limit that they share; returns who got them.

        All runs of a tenant get theirs, or none: none where one of its runs is ready, a limit has too few free, or
        another transaction is giving seats of it. Nobody does while ``promote_due`` would find something. It counts
        as the turns that claims of them would have been.
        """
        ...

    def promote_due(self, now: int, limit: int) -> None:
        """Make runs whose ``wake_at`` has come ready."""
        ...

    def next_wake(self) -> int | None:
        """Return the earliest ``wake_at`` of the runs that ``promote_due`` would promote then."""
        ...

    # journal
    def append_events(self, events: Sequence[Event]) -> None:
        """Insert journal rows whose numbers are given."""
        ...

    def load_events(self, run_ids: Sequence[str]) -> dict[str, list[Event]]:
        """Return the journals of runs in order of ``seq``, from where each has last begun anew."""
        ...

    # inbox
    def add_inbox(self, rows: Sequence[InboxRow]) -> set[str]:
        """Insert inbox rows; returns the ids refused because the run has seen that ``dedup_id``."""
        ...

    def load_inbox(self, run_ids: Sequence[str]) -> dict[str, list[InboxRow]]:
        """Return what is not consumed yet, in order of arrival."""
        ...

    def consume_inbox(self, inbox_ids: Sequence[str]) -> None:
        """Mark rows as consumed; rows with a ``dedup_id`` are remembered, the others deleted."""
        ...

    # idempotency
    def claim_keys(self, rows: Sequence[IdempotencyRow], now: int) -> dict[tuple[str, str], IdempotencyRow]:
        """Insert keys unless they are there and not expired; returns the row that holds for every key."""
        ...

    # queues
    def set_queue(self, queue: str, limit: int | None, paused: bool) -> None:
        """Create or change a queue; ``limit`` None means unlimited. ``*`` is the limit over all queues."""
        ...

    def restricted_queues(self, born: Sequence[NewRun] = ()) -> frozenset[str]:
        """Return queues that are paused or limited: their runs are only claimed. ``born`` are about to begin here."""
        ...

    def free_slots(self, run_ids: Sequence[str]) -> None:
        """Give back the queue slots and seats of locked runs that finished or parked."""
        ...

    def set_limit(self, name: str, most: int | None) -> None:
        """Set a limit that lanes share; None goes back to the rules' own."""
        ...

    def set_weight(self, tenant: str, weight: int) -> None:
        """Set how many turns a tenant gets for one of a tenant of weight 1."""
        ...

    # for contexts and user code
    @property
    def connection(self) -> Any:
        """The SQLAlchemy connection of this transaction (never commit it)."""
        ...

    def insert_rows(self, table: Any, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Insert rows into a SQLAlchemy table with one statement, whatever their number.

        Values are JSON scalars; a JSON column takes JSON text, a time stamp ISO 8601 text.
        """
        ...

    def execute(self, sql: str, params: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ()) -> Any:
        """Run SQL with ``:name`` parameters in this transaction and return the cursor."""
        ...

    def at_end(self, write: Callable[[Any, list[Any]], None], row: object) -> None:
        """Have ``write`` called with this transaction and all rows given for it, once, before the commit."""
        ...

    def write_last(self) -> None:
        """Write what was left for the end; nothing may be done in the transaction after it."""
        ...

    def savepoint(self, seconds: float | None = None) -> AbstractContextManager[None]:
        """Open a savepoint; an exception inside rolls back to it.

        After ``seconds`` a statement running inside is stopped with an error.
        """
        ...


class WriteSession(Protocol):
    """One connection that writes, used by one thread at a time."""

    inline: bool
    """Whether a transaction takes about a millisecond, so that an event loop may write it itself."""

    def reserve(self) -> bool:
        """Take this process's turn if it is free, for the next ``begin``; False when others are writing.

        The calling thread never waits for those, here or there.
        """
        ...

    def begin(self, marker: int) -> Transaction:
        """Open a transaction whose commit leaves ``marker``, higher than all before, in this session's marker row."""
        ...

    def commit(self) -> None:
        """Commit durably; what has changed nothing may be given up instead, and has no marker then.

        Raises:
            UnknownCommit: the answer was lost; ask ``committed`` before doing anything else. After any other
                error nothing is on disk.
        """
        ...

    def rollback(self) -> None:
        """Give the transaction up; never raises for a connection that is gone."""
        ...

    def away(self, error: BaseException) -> bool:
        """Say whether an error that ended a transaction means that the database cannot write now."""
        ...

    def committed(self, marker: int) -> bool:
        """Say, on a fresh connection and past any transaction still in flight, whether ``marker`` is on disk."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Reader(Protocol):
    """Questions about runs, each on the calling thread and without a transaction of its own."""

    def get_run(self, run_id: str) -> RunView | None:
        """Return a run, or None."""
        ...

    def list_runs(self, query: RunFilter) -> list[RunView]:
        """Return runs, newest first (creation time, then id)."""
        ...

    def ended(self, run_ids: Sequence[str]) -> list[Ended]:
        """Return those of the runs that have ended."""
        ...

    def events(self, run_id: str, since: int, limit: int) -> list[Event]:
        """Return events with ``seq`` above ``since``, in order."""
        ...

    def news(self, since: Mapping[str, int], limit: int) -> list[Event]:
        """Return up to ``limit`` events of each run with ``seq`` above its own number, in order."""
        ...

    def poll(self, holder: str, codes: Sequence[str], now: int, rules: LaneRules = LaneRules()) -> Poll:  # noqa: B008
        """Answer the once-a-second question of a process."""
        ...

    def orphaned(self, limit: int) -> list[str]:
        """Return ids of ended runs with open children, as ``Transaction.open_children`` sees them."""
        ...

    def lease_is_live(self, holder: str) -> bool:
        """Say whether a lease is live by database time."""
        ...


class Keeper(Protocol):
    """A kept lease."""

    @property
    def valid_until(self) -> float:
        """Monotonic time up to which the lease holds for sure; no step starts after it."""
        ...


class Backend(Protocol):
    """A database: makes sessions, answers reads, carries doorbells, keeps leases."""

    name: str
    own_transactions: bool
    """Whether transactional steps get a connection of their own (else they share the writer)."""

    @property
    def reader(self) -> Reader:
        """Return who answers questions about runs."""
        ...

    def write_session(self) -> WriteSession:
        """Open a connection that writes."""
        ...

    def read(self, fn: Callable[[Any], T]) -> T:
        """Run ``fn`` with a read-only SQLAlchemy connection on the calling thread."""
        ...

    def agree(self) -> Clock:
        """Return the clock that all processes of this database go by; asks it for the time where that is its own."""
        ...

    def keep_lease(self, holder: str, ttl: float, lost: Callable[[], None]) -> AbstractContextManager[Keeper]:
        """Keep a lease alive from a thread of its own until closed; calls ``lost`` when it cannot be kept."""
        ...

    def listen(self, holder: str, ring: Callable[[str], None]) -> AbstractContextManager[None]:
        """Call ``ring(kind)`` from another thread whenever another process rings, until closed.

        ``news`` and ``follow`` come with their run, ``news:ID``; ``hello`` means that a process began to listen.
        """
        ...

    def ring(self, rings: Sequence[Ring]) -> None:
        """Wake the other processes these doorbells concern; losing one is harmless."""
        ...

    def sweep(self, holder: str) -> None:
        """Remove what a dead process has left beside the database; leaves the living alone."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...
