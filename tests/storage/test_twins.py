"""Memory and SQLite, told the same things in any order, give the same answers and hold the same rows."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.storage.databases import memory_database, sqlite_database
from tests.storage.scene import BROKEN, DONE, GONE, Scene
from windlass.engine.control import CLAIM, CONTROL, SIGNAL, TAKEOVER, TakeoverRequest
from windlass.engine.errors import Fenced
from windlass.engine.heads import append
from windlass.engine.journal import ADVANCE, START
from windlass.engine.ops import CALL, Operation
from windlass.engine.ports import Ring, Transaction
from windlass.engine.types import (
    ClaimRequest,
    ControlRequest,
    Finish,
    NewEvent,
    Park,
    StartRequest,
    Status,
)
from windlass.kernel.errors import WindlassError
from windlass.kernel.lanes import lane_of
from windlass.storage.memory.store import MemoryStore

QUEUES = ("a", "b")
NAMES = ("w", "v")
TERMINAL = {"succeeded", "failed", "cancelled"}
Unit = tuple[Operation[Any, Any], Any]
Order = tuple[Any, ...]

anything = st.integers(min_value=0, max_value=30)
soon = st.one_of(st.none(), st.integers(min_value=-2, max_value=6))
orders = st.one_of(
    st.tuples(st.just("start"), anything, st.sampled_from([None, "mine"]), soon, anything),
    st.tuples(st.just("laned"), anything, anything, st.integers(-1, 2)),
    st.tuples(st.just("limit"), st.sampled_from([("acme", 1), ("acme/1", 3), ("b", None), ("b", 3), ("acme/1", None)])),
    st.tuples(st.just("keyed"), st.sampled_from("kl"), st.sampled_from(["r", "s"]), anything),
    st.tuples(st.just("taken"), anything),
    st.tuples(st.just("advance"), anything, st.sampled_from([True, True, True, False]), st.integers(0, 3)),
    st.tuples(st.just("children"), anything, anything),
    st.tuples(st.just("hear"), anything),
    st.tuples(st.just("park"), anything, soon, st.sampled_from(["wait", "wait", "ready", "pause", "human", "heard"])),
    st.tuples(st.just("finish"), anything, st.sampled_from([DONE, BROKEN, GONE]), st.booleans()),
    st.tuples(st.just("signal"), anything, st.sampled_from("xy"), st.sampled_from([None, None, "d", "e"])),
    st.tuples(st.just("control"), anything, st.sampled_from(["cancel", "pause", "resume", "retry"])),
    st.tuples(st.just("claim"), anything, st.none(), st.integers(1, 4)),
    st.tuples(st.just("claim"), anything, st.sampled_from([None, ("a",), ("b", "a")]), st.integers(1, 4)),
    st.tuples(st.just("take over"), anything, st.sampled_from([False, False, True])),
    st.tuples(st.just("queue"), st.sampled_from("ab*"), st.sampled_from([None, 1, 2, 3]), st.integers(0, 4)),
    st.tuples(st.just("call"), anything, st.sampled_from(["done", "fails", "half"])),
)


class Twin:
    """One of the two: turns orders into units. Both see the same state, so both make the same units."""

    def __init__(self, scene: Scene, store: MemoryStore) -> None:
        self.scene = scene
        self.store = store
        self.runs: list[str] = []
        self.alive = [scene.holder(), scene.holder()]
        self.dead: list[str] = []

    def run(self, number: int) -> str:
        known = ["nobody", *self.runs] if number % 16 == 0 else self.runs[-8:]
        return known[number % len(known)]

    def holder(self, number: int) -> str:
        known = self.alive * 2 + self.dead[-2:]
        return known[number % len(known)]

    def speaker(self, number: int) -> str:
        """Return a holder that may say something: the dead are silent until somebody has taken over from them."""
        known = self.alive * 2 + [holder for holder in self.dead[-2:] if self.fenced(holder)]
        return known[number % len(known)]

    def fenced(self, holder: str) -> bool:
        row = self.store.leases.get(holder)
        return row is not None and row.dead

    def new_run(self, **fields: Any) -> Any:
        run = self.scene.new_run(**fields)
        self.runs.append(run.run_id)
        return run

    def unit(self, order: Order, held: list[tuple[str, str, str | None]]) -> Unit:
        """Return the unit for an order; ``held`` lists runs with their holders and parents."""
        kind, *rest = order
        make: Callable[..., Unit] = getattr(self, f"_{kind.replace(' ', '_')}")
        if kind not in {"advance", "children", "hear", "park", "finish"}:
            return make(*rest)
        number = rest.pop(0)
        if held and number % 8:
            run, holder, parent = held[number % len(held)]
        else:
            run, holder, parent = self.run(number), self.speaker(number), None
        if holder in self.dead and not self.fenced(holder):
            holder = "stranger"
        return make(run, holder, parent, *rest)

    def _start(self, number: int, holder: str | None, delay: int | None, parent: int) -> Unit:
        run = self.new_run(
            name=NAMES[number % 5 == 0],
            queue=QUEUES[number % 2],
            priority=number % 3 - 1,
            holder=None if holder is None or delay is not None else self.speaker(number),
            wake_at=None if delay is None else self.scene.now + delay,
            parent_run_id=self.run(parent) if parent % 2 and self.runs else None,
        )
        return START, StartRequest(run)

    def _laned(self, number: int, workflow: int, priority: int) -> Unit:
        tenant, key = ("acme", "b", "c-d")[number % 3], "k" if number % 4 == 0 else ""
        lane = lane_of(tenant, ("1", "2", "")[workflow % 3], key, 1)
        run = self.new_run(name=NAMES[number % 9 == 0], queue="a", priority=priority, lane=lane, ageing=3)
        return START, StartRequest(run)

    def _limit(self, limit: tuple[str, int | None]) -> Unit:
        def change(tx: Transaction) -> None:
            tx.set_limit(*limit)
            tx.set_weight(limit[0].partition("/")[0], limit[1] or 2)

        return CALL, change

    def _keyed(self, key: str, request: str, number: int) -> Unit:
        run = self.new_run(queue=QUEUES[number % 2])
        return START, StartRequest(run, key, request, self.scene.now + number)

    def _taken(self, number: int) -> Unit:
        return START, StartRequest(self.scene.new_run(run_id=self.run(number)), own_id=number % 2 == 0)

    def _advance(self, run: str, holder: str, _parent: str | None, own: bool, many: int) -> Unit:
        return ADVANCE, self.scene.advance(run, holder if own else "stranger", *"abc"[:many])

    def _children(self, run: str, holder: str, _parent: str | None, number: int) -> Unit:
        queue = QUEUES[number % 2]
        starts = [self.new_run(parent_run_id=run, queue=queue, holder=born) for born in (None, holder)]
        return ADVANCE, self.scene.advance(run, holder, "child_started", starts=starts)

    def _hear(self, run: str, holder: str, _parent: str | None) -> Unit:
        heard = [row.inbox_id for row in self.scene.inbox(run)][:2]
        return ADVANCE, self.scene.advance(run, holder, "heard", consumed=heard)

    def _park(self, run: str, holder: str, _parent: str | None, delay: int | None, how: str) -> Unit:
        heard = frozenset(row.inbox_id for row in self.scene.inbox(run)) if how == "heard" else frozenset()
        park = Park(
            how,
            None if delay is None or how == "ready" else self.scene.now + delay,
            {"pause": Status.PAUSED, "human": Status.WAITING_HUMAN}.get(how, Status.RUNNING),
            ready=how == "ready",
            heard=heard,
        )
        return ADVANCE, self.scene.advance(run, holder, park=park)

    def _finish(self, run: str, holder: str, parent: str | None, outcome: Finish, children: bool) -> Unit:
        finish = Finish(outcome.status, outcome.outputs, outcome.error, outcome.reason, parent, children)
        return ADVANCE, self.scene.advance(run, holder, "ended", finish=finish)

    def _signal(self, number: int, name: str, dedup_id: str | None) -> Unit:
        return SIGNAL, self.scene.signal_request(self.run(number), name, dedup_id=dedup_id)

    def _control(self, number: int, action: str) -> Unit:
        return CONTROL, ControlRequest(self.run(number), action, "user", None, self.scene.new_id(), self.scene.now)

    def _claim(self, number: int, queues: tuple[str, ...] | None, limit: int) -> Unit:
        return CLAIM, ClaimRequest(self.speaker(number), NAMES[: 1 + number % 2], queues, limit, self.scene.now)

    def _take_over(self, number: int, force: bool) -> Unit:
        return TAKEOVER, TakeoverRequest(self.holder(number), force, self.scene.now)

    def _queue(self, queue: str, limit: int | None, pause: int) -> Unit:
        return CALL, lambda tx: tx.set_queue(queue, limit, pause == 0)

    def _call(self, number: int, how: str) -> Unit:
        run, request = self.run(number), self.scene.signal_request(self.run(number), "call")

        def write(tx: Transaction) -> None:
            head = tx.lock_runs([run]).get(run)
            if head is not None and head.holder is None:
                append(tx, head, NewEvent("called", None, "{}", self.scene.now))
                tx.bump_runs([head])
            SIGNAL.apply(tx, [request])

        def half(tx: Transaction) -> None:
            try:
                with tx.savepoint():
                    write(tx)
                    raise KeyError(how)
            except KeyError:
                tx.set_queue("half", None, False)

        def fails(tx: Transaction) -> None:
            write(tx)
            raise KeyError(how)

        return CALL, {"done": write, "half": half, "fails": fails}[how]


def plain(answer: Any) -> Any:
    """Return an answer in a form that may be compared: a driver's errors are all one."""
    if isinstance(answer, WindlassError):
        return type(answer).__name__, str(answer)
    if isinstance(answer, Exception):
        return type(answer).__name__ if isinstance(answer, Fenced | KeyError) else "error"
    return answer


class Twins(RuleBasedStateMachine):
    """The machine; ``model`` is an empty SQLite file."""

    def __init__(self, model: Path) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="windlass-twins-"))
        shutil.copy(model, self.folder / "windlass.db")
        database, self.store = memory_database()
        self.databases = [database, sqlite_database(self.folder / "windlass.db")]
        self.backends = [database.open() for database in self.databases]
        self.scenes = [Scene(*pair) for pair in zip(self.databases, self.backends, strict=True)]
        self.twins = [Twin(scene, self.store) for scene in self.scenes]

    @initialize(inline=st.booleans())
    def begin(self, inline: bool) -> None:
        """Let SQLite write as the event loop does, or as the thread does, and begin with a family."""
        self.databases[1].inline = inline
        for twin in self.twins:
            parent = twin.new_run(holder=twin.alive[0])
            child = twin.new_run(holder=twin.alive[1], parent_run_id=parent.run_id, queue="a")
            others = [twin.new_run(queue=queue) for queue in QUEUES]
            twin.scene.batch(*((START, StartRequest(run)) for run in (parent, child, *others)))

    @rule(batch=st.lists(orders, min_size=1, max_size=8))
    def write(self, batch: list[Order]) -> None:
        """Write a batch."""
        rows = [(run_id, self.store.runs[run_id]) for run_id in self.store.runs.held()]
        held = [(run_id, row.head.holder or "", row.born.parent_run_id) for run_id, row in rows]
        units = [[twin.unit(order, held) for order in batch] for twin in self.twins]
        answers = [
            [plain(answer) for answer in scene.batch(*own)] for scene, own in zip(self.scenes, units, strict=True)
        ]
        assert answers[0] == answers[1]
        assert self.rings(0) == self.rings(1)

    def rings(self, twin: int) -> Counter[Ring]:
        """Return what was rung, in any order."""
        return Counter(self.scenes[twin].rings)

    @rule(seconds=st.integers(min_value=1, max_value=5))
    def wait(self, seconds: int) -> None:
        """Let microseconds pass."""
        for scene in self.scenes:
            scene.now += seconds

    @rule(number=st.integers(min_value=0, max_value=9))
    def die(self, number: int) -> None:
        """Let a holder die now and then, and another one come."""
        for twin in self.twins if number < 2 else ():
            twin.scene.die(twin.alive[number])
            twin.dead.append(twin.alive[number])
            twin.alive[number] = twin.scene.holder()

    @invariant()
    def the_rows_are_the_same(self) -> None:
        """Compare every row, and what readers are told."""
        memory, sqlite = (scene.tables() for scene in self.scenes)
        assert memory == sqlite
        now = self.scenes[0].now
        for holder in self.twins[0].alive:
            polls = [backend.reader.poll(holder, NAMES, now) for backend in self.backends]
            assert len({(poll.ready, poll.next_wake, frozenset(poll.dead), poll.restricted) for poll in polls}) == 1
            assert sorted(polls[0].inbox) == sorted(polls[1].inbox)

    @invariant()
    def the_promises_hold(self) -> None:
        """Check what must be true of every state."""
        tables = self.scenes[0].tables()
        seqs: dict[str, list[int]] = {}
        for event in tables["events"]:
            seqs.setdefault(event[0], []).append(event[1])
        held: dict[str, set[str]] = {}
        for row in tables["runs"]:
            run_id, status, queue, ready_at, wake_at, holder = row[0], row[4], row[8], row[12], row[13], row[14]
            assert seqs.get(run_id, []) == list(range(1, row[16] + 1))
            assert ready_at is None or wake_at is None
            assert holder is None or (ready_at is None and wake_at is None and status == "running")
            if status in TERMINAL:
                assert (holder, ready_at, wake_at) == (None, None, None)
            for name in (queue, "*"):
                held.setdefault(name, set()).update([run_id] if holder is not None else [])
        limits = {queue: limit for queue, limit, _ in tables["queues"] if limit is not None}
        assert set(tables["slots"]) == {(queue, run_id) for queue in limits for run_id in held.get(queue, ())}

    def teardown(self) -> None:
        """Close everything."""
        for scene in self.scenes:
            scene.__exit__()
        for backend in self.backends:
            backend.close()
        self.store.close()
        shutil.rmtree(self.folder)


@pytest.mark.timeout(600)  # a sequence that tells them apart takes its time to be made short
def test_twins_cannot_be_told_apart(sqlite_model: Path) -> None:
    class Told(Twins):
        def __init__(self) -> None:
            super().__init__(sqlite_model)

    run_state_machine_as_test(
        Told,
        settings=settings(
            max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
