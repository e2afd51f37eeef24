"""Several processes write to one database at once: their runs' numbers stay gapless, and nobody is turned away."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, TypeVar

import pytest

from tests.storage.databases import Database
from tests.storage.scene import DONE, EPOCH, LEASE_SECONDS, Scene
from windlass.engine.control import CLAIM, CONTROL, SIGNAL, TAKEOVER, TakeoverRequest
from windlass.engine.errors import Fenced, RunConflict
from windlass.engine.journal import ADVANCE, START
from windlass.engine.ops import CALL, Operation
from windlass.engine.ports import Backend, IdempotencyRow
from windlass.engine.types import (
    Advance,
    ClaimRequest,
    ControlRequest,
    Finish,
    Lease,
    NewEvent,
    NewRun,
    Park,
    SignalRequest,
    StartRequest,
    Status,
)
from windlass.kernel.lanes import LaneRules, lane_of
from windlass.storage.committer import Committer

A = TypeVar("A")
R = TypeVar("R")

PROCESSES = 3
THREADS = 3


class Process:
    """A backend and a committer of its own, driven by threads."""

    def __init__(self, number: int, backend: Backend, stack: ExitStack) -> None:
        self.number = number
        self.holder = f"holder-{number}"
        self.backend = backend
        self.committer = Committer(backend.write_session())
        stack.callback(backend.close)
        stack.callback(self.committer.close)
        self.committer.start()
        stack.enter_context(backend.keep_lease(self.holder, LEASE_SECONDS, lambda: None))
        lease = Lease(self.holder, "host", number, "w")
        self.do(CALL, lambda tx: tx.add_lease(lease, LEASE_SECONDS))

    def do(self, op: Operation[A, R], unit: A) -> R:
        """Write a unit and wait for its answer."""
        return self.committer.submit_from_thread(op, unit).result(60)

    def step(self, run_id: str, *types: str, **more: object) -> Advance:
        """Return a step of a run of this process."""
        events = [NewEvent(kind, None, "{}", EPOCH) for kind in types]
        return Advance(run_id, self.holder, EPOCH, events, **more)  # type: ignore[arg-type]


@pytest.fixture
def processes(database: Database) -> Iterator[list[Process]]:
    with ExitStack() as stack:
        yield [Process(number, database.open(), stack) for number in range(PROCESSES)]


def everywhere(processes: list[Process], work: Callable[[Process, int], R]) -> list[R]:
    """Do ``work(process, thread)`` on several threads of every process at once; raises what any of them raised."""
    with ThreadPoolExecutor(PROCESSES * THREADS) as pool:
        tasks = [pool.submit(work, process, thread) for process in processes for thread in range(THREADS)]
        return [task.result() for task in tasks]


def test_numbers_stay_gapless_whoever_writes(processes: list[Process], scene: Scene) -> None:
    rounds = 12

    def work(process: Process, thread: int) -> list[str]:
        runs = [f"{process.number}-{thread}-{n}" for n in range(4)]
        for run_id in runs:
            process.do(START, StartRequest(NewRun(run_id, "w", "[]", EPOCH, holder=process.holder)))
        for turn in range(rounds):
            waiting = [
                process.committer.submit_from_thread(ADVANCE, process.step(run_id, f"a{turn}", f"b{turn}"))
                for run_id in runs
            ]
            assert [future.result(60) for future in waiting] == [None] * len(runs)
        return runs

    runs = [run_id for own in everywhere(processes, work) for run_id in own]

    expected = ["run_started", *(f"{kind}{turn}" for turn in range(rounds) for kind in "ab")]
    assert {run_id: scene.types(run_id) for run_id in runs} == dict.fromkeys(runs, expected)


def test_families_across_processes_neither_deadlock_nor_lose_letters(processes: list[Process], scene: Scene) -> None:
    parents = [f"parent-{number}" for number in range(PROCESSES)]
    for process, parent in zip(processes, parents, strict=True):
        process.do(START, StartRequest(NewRun(parent, "w", "[]", EPOCH, holder=process.holder)))

    def work(process: Process, thread: int) -> list[str]:
        children = []
        for n in range(10):
            parent = parents[(process.number + thread + n) % PROCESSES]
            child = f"child-{process.number}-{thread}-{n:02d}"
            run = NewRun(child, "w", "[]", EPOCH, holder=process.holder, parent_run_id=parent)
            process.do(START, StartRequest(run))
            other = parents[(process.number + n) % PROCESSES]
            signal = SignalRequest(other, "x", "1", None, f"signal-{child}", EPOCH)
            done = Finish(Status.SUCCEEDED, "1", parent_run_id=parent)
            waiting: list[Future[Any]] = [
                process.committer.submit_from_thread(SIGNAL, signal),
                process.committer.submit_from_thread(ADVANCE, process.step(child, "done", finish=done)),
                process.committer.submit_from_thread(ADVANCE, process.step(parents[process.number], "tick")),
            ]
            assert [future.result(60) for future in waiting] == [True, None, None]
            children.append(child)
        return children

    children = [child for own in everywhere(processes, work) for child in own]

    letters = [row for parent in parents for row in scene.inbox(parent)]
    assert sorted(row.name for row in letters if row.kind == "child") == sorted(children)
    assert sorted(row.inbox_id for row in letters if row.kind == "signal") == sorted(f"signal-{c}" for c in children)
    for parent in parents:
        assert scene.types(parent) == ["run_started", *["tick"] * (10 * THREADS)]
    assert all(scene.types(child) == ["run_started", "done"] for child in children)


def test_every_run_is_claimed_by_one(processes: list[Process], scene: Scene) -> None:
    runs = [f"run-{n:03d}" for n in range(150)]
    scene.batch(*((START, StartRequest(NewRun(run_id, "w", "[]", EPOCH))) for run_id in runs))

    def work(process: Process, _thread: int) -> list[str]:
        mine: list[str] = []
        while True:
            answer = process.do(CLAIM, ClaimRequest(process.holder, ("w",), None, 7, EPOCH))
            mine += [run.head.run_id for run in answer.runs]
            if not answer.runs and not scene_has_ready(process):
                return mine

    claimed = [run_id for own in everywhere(processes, work) for run_id in own]

    assert sorted(claimed) == runs
    assert all(scene.types(run_id) == ["run_started"] for run_id in runs[::10])


def scene_has_ready(process: Process) -> bool:
    return process.backend.reader.poll(process.holder, ["w"], EPOCH).ready


def test_limits_of_lanes_hold_whoever_claims(processes: list[Process], scene: Scene) -> None:
    rules = LaneRules(tenant=3, workflow=2, ageing=1)
    lanes = [lane_of(tenant, str(workflow)) for tenant in ("acme", "umbra") for workflow in (1, 2)]
    runs = [NewRun(f"run-{n:03d}", "w", "[]", EPOCH, lane=lanes[n % 4]) for n in range(60)]
    scene.batch(*((START, StartRequest(run)) for run in runs))
    most: dict[str, int] = {}

    def work(process: Process, _thread: int) -> int:
        done = 0
        while process.backend.reader.poll(process.holder, ["w"], EPOCH, rules).ready:
            answer = process.do(CLAIM, ClaimRequest(process.holder, ("w",), None, 3, EPOCH, rules))
            for name, held in Counter(name for name, _ in scene.database.dump(process.backend)["seats"]).items():
                most[name] = max(held, most.get(name, 0))
            for run in answer.runs:
                process.do(ADVANCE, process.step(run.head.run_id, "done", finish=DONE))
                done += 1
        return done

    assert sum(everywhere(processes, work)) == len(runs)
    assert all(held <= (2 if "/" in name else 3) for name, held in most.items()), most
    assert scene.tables()["seats"] == []


def test_a_limit_holds_whoever_claims(processes: list[Process], scene: Scene) -> None:
    scene.call(lambda tx: tx.set_queue("q", 4, False))
    runs = [f"run-{n:03d}" for n in range(60)]
    scene.batch(*((START, StartRequest(NewRun(run_id, "w", "[]", EPOCH, queue="q"))) for run_id in runs))
    most = []

    def work(process: Process, _thread: int) -> int:
        done = 0
        while scene_has_ready(process):
            answer = process.do(CLAIM, ClaimRequest(process.holder, ("w",), None, 3, EPOCH))
            held = process.backend.reader.list_runs(scene.filter(status=("running",)))
            most.append(len(held))
            for run in answer.runs:
                process.do(ADVANCE, process.step(run.head.run_id, "done", finish=DONE))
                done += 1
        return done

    assert sum(everywhere(processes, work)) == len(runs)
    assert 0 < max(most) <= 4
    assert scene.tables()["slots"] == []


def test_one_of_many_starts_with_the_same_key_wins(processes: list[Process], scene: Scene) -> None:
    def work(process: Process, thread: int) -> list[tuple[str, bool]]:
        answers = []
        for n in range(8):
            run = NewRun(f"run-{process.number}-{thread}-{n}", "w", "[]", EPOCH)
            answers.append(process.do(START, StartRequest(run, f"key-{n}", "h", EPOCH + 10**9)))
        return [(answer.run_id, answer.created) for answer in answers]

    answers = everywhere(processes, work)

    for n in range(8):
        ours = [own[n] for own in answers]
        assert len({run_id for run_id, _ in ours}) == 1
        assert [created for _, created in ours].count(True) == 1
    assert len(scene.backend.reader.list_runs(scene.filter())) == 8
    keys = [IdempotencyRow(*row) for row in scene.tables()["keys"]]
    assert sorted(row.key for row in keys) == [f"key-{n}" for n in range(8)]


def test_a_signal_is_delivered_once_however_often_it_is_sent_at_once(processes: list[Process], scene: Scene) -> None:
    run = scene.start()

    def work(process: Process, thread: int) -> list[bool]:
        requests = [
            SignalRequest(run, "x", "1", f"dedup-{n}", f"i-{process.number}-{thread}-{n}", EPOCH) for n in range(8)
        ]
        return [process.do(SIGNAL, request) for request in requests]

    answers = everywhere(processes, work)

    for n in range(8):
        assert [own[n] for own in answers].count(True) == 1
    assert sorted(row.dedup_id or "" for row in scene.inbox(run)) == [f"dedup-{n}" for n in range(8)]


def test_holders_die_while_others_take_over_and_cancel(processes: list[Process], scene: Scene) -> None:
    dead = scene.holder()
    runs = [scene.held(dead) for _ in range(30)]
    scene.die(dead)

    def work(process: Process, thread: int) -> int:
        moved = 0
        for n, run_id in enumerate(runs):
            if (n + thread) % 3 == 0:
                moved += process.do(TAKEOVER, TakeoverRequest(dead, False, EPOCH))
            elif (n + thread) % 3 == 1 and n % 2 == 0:
                request = ControlRequest(run_id, "cancel", "user", None, f"c-{process.number}-{thread}-{n}", EPOCH)
                try:
                    process.do(CONTROL, request)
                except RunConflict:
                    moved += 0
            else:
                process.do(CLAIM, ClaimRequest(process.holder, ("w",), None, 2, EPOCH))
                try:
                    process.do(ADVANCE, process.step(run_id, "a", park=Park("wait")))
                except Fenced:
                    moved += 0
        return moved

    assert sum(everywhere(processes, work)) == len(runs)
    for run_id in runs:
        types = scene.types(run_id)
        assert types[1] in {"run_requeued", "cancel_acknowledged"}
        assert types.count("run_requeued") == (types[1] == "run_requeued")
        assert types.count("run_cancelled") <= 1
        assert (scene.view(run_id).status == "cancelled") == ("run_cancelled" in types)
