"""A writer on a database, a clock that stands still, and short ways to say what a test needs said."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from copy import copy
from itertools import count
from typing import Any, Self, TypeVar

import orjson

from tests.storage.databases import NOTES, Database
from windlass.engine.control import CLAIM, CONTROL, SIGNAL, TAKEOVER, TakeoverRequest
from windlass.engine.journal import ADVANCE, START
from windlass.engine.ops import CALL, Operation
from windlass.engine.ports import Backend, Ring, Transaction
from windlass.engine.types import (
    Advance,
    ClaimedRun,
    ClaimRequest,
    ControlRequest,
    ControlResult,
    Event,
    Finish,
    InboxRow,
    Lease,
    NewEvent,
    NewRun,
    Park,
    RunFilter,
    RunHead,
    RunView,
    SignalRequest,
    Started,
    StartRequest,
    Status,
)
from windlass.kernel.clock import SECOND, to_iso
from windlass.storage.batches import BatchWriter, Pending
from windlass.storage.queries import micros, text

T = TypeVar("T")

_NOBODY: Future[Any] = Future()

EPOCH = 1_700_000_000 * SECOND
LEASE_SECONDS = 600.0

DONE = Finish(Status.SUCCEEDED, outputs='{"ok":true}')
BROKEN = Finish(Status.FAILED, error='{"type":"ValueError","message":"no"}', reason="ValueError")
GONE = Finish(Status.CANCELLED, error='{"type":"Cancelled","message":"x"}', reason="x")


class Scene:
    """One writing process. Outcomes of units that were refused are exceptions: returned by ``batch``, else raised."""

    def __init__(self, database: Database, backend: Backend, name: str = "") -> None:
        self.database = database
        self.backend = backend
        self.name = name
        self.session = backend.write_session()
        self.writer = BatchWriter(self.session)
        self.now = EPOCH
        self.rings: list[Ring] = []
        self._ids = count(1)
        self._leases: dict[str, ExitStack] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for lease in self._leases.values():
            lease.close()
        self.session.close()

    # writing
    def batch(self, *units: tuple[Operation[Any, Any], Any]) -> list[Any]:
        """Write units in one batch and return their answers, in order; ``rings`` holds what it rang."""
        if self.database.inline:
            assert self.session.reserve()
        outcomes, self.rings, _ = self.writer.write([Pending(op, unit, _NOBODY, None, False) for op, unit in units])
        return [value if error is None else error for value, error in outcomes]

    def do(self, op: Operation[Any, Any], unit: Any) -> Any:
        """Write one unit and return its answer."""
        answer = self.batch((op, unit))[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def call(self, fn: Callable[[Transaction], T]) -> T:
        """Run ``fn`` in a transaction of its own."""
        answer: T = self.do(CALL, fn)
        return answer

    def later(self, seconds: float = 1.0) -> int:
        """Move the clock on and return it."""
        self.now += int(seconds * SECOND)
        return self.now

    def new_id(self, prefix: str = "id") -> str:
        """Return an id; ids sort in the order they are made."""
        return f"{self.name}{prefix}-{next(self._ids):06d}"

    # processes
    def holder(self) -> str:
        """Return a process with a live lease."""
        holder = self.new_id("holder")
        lease = self._leases[holder] = ExitStack()
        lease.enter_context(self.backend.keep_lease(holder, LEASE_SECONDS, lambda: None))
        self.call(lambda tx: tx.add_lease(Lease(holder, "host", 1, "w"), LEASE_SECONDS))
        return holder

    def die(self, holder: str) -> None:
        """Let a process die; everybody can see it."""
        self._leases.pop(holder).close()
        self.call(lambda tx: self.database.after_death(tx, holder))

    def take_over(self, holder: str, *, force: bool = False) -> int:
        """Give a dead process's runs back, one chunk of them."""
        moved: int = self.do(TAKEOVER, TakeoverRequest(holder, force, self.now))
        return moved

    # runs
    def new_run(self, **fields: Any) -> NewRun:
        """Return a run to start."""
        return NewRun(**{"run_id": self.new_id("run"), "name": "w", "inputs": "[]", "created_at": self.now, **fields})

    def start(self, **fields: Any) -> str:
        """Start a run and return its id."""
        run = self.new_run(**fields)
        started: Started = self.do(START, StartRequest(run))
        return started.run_id

    def held(self, holder: str, **fields: Any) -> str:
        """Start a run that ``holder`` holds from its birth."""
        return self.start(holder=holder, **fields)

    def claim(
        self, holder: str, *, names: Sequence[str] = ("w",), queues: Sequence[str] | None = None, limit: int = 100
    ) -> list[str]:
        """Claim runs and return their ids."""
        return [run.head.run_id for run in self.claimed(holder, names=names, queues=queues, limit=limit)]

    def claimed(
        self, holder: str, *, names: Sequence[str] = ("w",), queues: Sequence[str] | None = None, limit: int = 100
    ) -> list[ClaimedRun]:
        """Claim runs."""
        request = ClaimRequest(holder, tuple(names), None if queues is None else tuple(queues), limit, self.now)
        runs: list[ClaimedRun] = self.do(CLAIM, request).runs
        return runs

    def advance(self, run_id: str, holder: str, *types: str, **more: Any) -> Advance:
        """Return a step forward of a run with events of these types."""
        events = [NewEvent(kind, None, '{"n":1}', self.now) for kind in types]
        return Advance(run_id, holder, self.now, events, **more)

    def write(self, run_id: str, holder: str, *types: str, **more: Any) -> Any:
        """Step a run forward."""
        return self.do(ADVANCE, self.advance(run_id, holder, *types, **more))

    def park(self, run_id: str, holder: str, **fields: Any) -> Any:
        """Park a run; it waits for its inbox when nothing else is said."""
        return self.write(run_id, holder, park=Park(**{"reason": "signal:x", **fields}))

    def finish(self, run_id: str, holder: str, outcome: Finish = DONE, **fields: Any) -> Any:
        """End a run."""
        finish = copy(outcome)
        for name, value in fields.items():
            setattr(finish, name, value)
        return self.write(run_id, holder, "run_ended", finish=finish)

    def signal(self, run_id: str, name: str = "x", *, dedup_id: str | None = None, payload: str = "1") -> bool:
        """Send a signal."""
        answer: bool = self.do(SIGNAL, self.signal_request(run_id, name, dedup_id=dedup_id, payload=payload))
        return answer

    def signal_request(
        self, run_id: str, name: str = "x", *, dedup_id: str | None = None, payload: str = "1"
    ) -> SignalRequest:
        """Return a signal to send."""
        return SignalRequest(run_id, name, payload, dedup_id, self.new_id("inbox"), self.now)

    def control(self, run_id: str, action: str, reason: str | None = None) -> ControlResult:
        """Cancel, pause, resume or retry a run."""
        request = ControlRequest(run_id, action, "user", reason, self.new_id("inbox"), self.now)
        result: ControlResult = self.do(CONTROL, request)
        return result

    # looking
    @staticmethod
    def parsed(text: str | None) -> Any:
        """Return JSON text as values: databases may write it anew."""
        return None if text is None else orjson.loads(text)

    def iso(self) -> str:
        """Return the scene's time as text."""
        return to_iso(self.now)

    def look(self, fn: Callable[[Transaction], T]) -> T:
        """Run ``fn`` in a transaction of its own that the doorbells of the last batch outlive."""
        rings = self.rings
        try:
            return self.call(fn)
        finally:
            self.rings = rings

    def head(self, run_id: str) -> RunHead:
        """Return a run's head as it is in the database."""
        return self.look(lambda tx: tx.lock_runs([run_id])[run_id])

    def events(self, run_id: str) -> list[Event]:
        """Return a run's journal."""
        return self.look(lambda tx: tx.load_events([run_id])).get(run_id, [])

    def types(self, run_id: str) -> list[str]:
        """Return the types of a run's events, after a check that they count 1, 2, 3 …"""
        events = self.events(run_id)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert self.head(run_id).last_seq == len(events)
        return [event.type for event in events]

    def inbox(self, run_id: str) -> list[InboxRow]:
        """Return what a run has not consumed."""
        return self.look(lambda tx: tx.load_inbox([run_id])).get(run_id, [])

    def view(self, run_id: str) -> RunView:
        """Return a run as readers see it."""
        view = self.backend.reader.get_run(run_id)
        assert view is not None
        return view

    def rung(self, kind: str) -> Iterator[str]:
        """Yield the runs the last batch rang for."""
        return (ring.run_id for ring in self.rings if ring.kind == kind)

    def filter(self, **fields: Any) -> RunFilter:
        """Return which runs to list."""
        return RunFilter(**{"limit": 1000, **fields})

    def notes(self) -> list[tuple[Any, ...]]:
        """Return the rows that are not the engine's: JSON as values, times as microseconds."""
        query = NOTES.select().order_by(NOTES.c.note_id)
        rows = self.backend.read(lambda connection: connection.execute(query).all())
        return [(row[0], row[1], self.parsed(text(row[2])), None if row[3] is None else micros(row[3])) for row in rows]

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return every row of the engine and of others, in a form that is the same for every backend."""
        return {**self.database.dump(self.backend), "notes": self.notes()}
