"""Code that raises what is no ``Exception``, cancels itself or overruns its time: its run fails, and nothing else."""

import asyncio
import sys
import threading
import time

import pytest

from tests.engine.lab import Lab, add_note, event_types, status_of
from tests.support.waiting import wait_until_async
from windlass import Engine, Handle, RunCancelled, RunFailed, gather, signal, sleep, sleep_until, step, workflow
from windlass.engine.ports import Transaction
from windlass.kernel.clock import to_datetime


class Odd(BaseException):
    """What nobody catches."""


@step
async def odd() -> None:
    raise Odd("x")


@step
def odd_in_thread() -> None:
    raise Odd("x")


@step
def leaves() -> None:
    sys.exit(4)


@step
def exhausted() -> None:
    next(iter(()))


@step(transactional=True)
def odd_in_transaction(tx: Transaction) -> None:
    add_note(tx, "never")
    raise Odd("x")


@step(transactional=True)
def exhausted_in_transaction(tx: Transaction) -> None:
    next(iter(()))


@workflow(name="unruly.async")
async def in_step() -> None:
    await odd()


@workflow(name="unruly.thread")
async def in_thread() -> None:
    await odd_in_thread()


@workflow(name="unruly.exit")
async def exits() -> None:
    await leaves()


@workflow(name="unruly.exhausted")
async def stops() -> None:
    await exhausted()


@workflow(name="unruly.transaction")
async def in_transaction() -> None:
    await odd_in_transaction()


@workflow(name="unruly.transaction.exhausted")
async def stops_in_transaction() -> None:
    await exhausted_in_transaction()


@workflow(name="unruly.plain")
async def plain() -> None:
    raise Odd("x")


@workflow(name="unruly.branch")
async def in_branch() -> None:
    await gather(odd(), sleep(hours=1))


@workflow(name="unruly.cancels")
async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


@workflow(name="unruly.fine")
async def fine() -> str:
    return "fine"


@pytest.mark.parametrize(
    "unruly",
    [in_step, in_thread, exits, stops, in_transaction, stops_in_transaction, plain, in_branch, cancels_itself],
    ids=lambda unruly: unruly.name,
)
async def test_a_run_fails_by_it_and_the_process_goes_on(lab: Lab, engine: Engine, unruly: object) -> None:
    handle = await engine.start_run(unruly)  # type: ignore[arg-type]

    with pytest.raises(RunFailed):
        await handle.result(timeout=10)
    assert (await handle.status()).holder is None
    assert await (await engine.start_run(fine)).result(timeout=10) == "fine"
    assert await engine.transact(lambda tx: len(tx.rings)) == 0
    assert lab.notes() == []


async def test_a_caller_s_own_transaction_may_raise_anything(engine: Engine) -> None:
    def leave(tx: Transaction) -> None:
        sys.exit(3)

    with pytest.raises(RuntimeError, match="SystemExit: 3"):
        await engine.transact(leave)
    assert await engine.transact(lambda tx: len(tx.rings)) == 0


async def test_the_end_of_the_loop_fails_no_run(lab: Lab) -> None:
    engine, other = await lab.engine(), await lab.engine(worker=False)
    handle = await engine.start_run(_waits)
    run = await wait_until_async(lambda: engine.worker.runs.get(handle.run_id), what="the run in memory")
    assert run is not None
    await wait_until_async(lambda: run.busy == 0, what="the signal to be awaited")

    for task in [*engine.worker._loops, *run.tasks]:
        task.cancel()
    await wait_until_async(lambda: not engine.worker.runs, what="the run to be dropped")

    assert (await other.get_run(handle.run_id)).status == "running"
    await lab.crash(engine)


@workflow(name="unruly.waits")
async def _waits() -> None:
    await signal("go")


async def at_work(engine: Engine, handle: Handle) -> None:
    """Wait until a run has begun a step."""

    def begun() -> bool:
        run = engine.worker.runs.get(handle.run_id)
        return run is not None and bool(run.executing)

    await wait_until_async(begun, what="the step")


# names
@workflow(name="unruly.names")
async def names(kind: str) -> None:
    match kind:
        case "sleep":
            await sleep(1, name="tea/time")
        case "until":
            await sleep_until(to_datetime(0), name="tea/time")
        case _:
            await signal("order/shipped")


@pytest.mark.parametrize("kind", ["sleep", "until", "signal"])
async def test_a_name_that_would_break_a_path_is_refused(engine: Engine, kind: str) -> None:
    with pytest.raises(RunFailed, match="is no name"):
        await (await engine.start_run(names, kind)).result(timeout=10)


# time
async def test_the_time_of_a_plain_function_begins_when_a_thread_takes_it(lab: Lab) -> None:
    engine = await lab.engine(threads=1)
    called = []

    @step(timeout=1.0)
    def slow(number: int) -> int:
        called.append(number)
        time.sleep(0.4)
        return number

    @workflow(name="unruly.queueing")
    async def queueing() -> list[int]:
        return await gather(*(slow(number) for number in range(5)))

    assert await (await engine.start_run(queueing)).result(timeout=20) == list(range(5))
    assert sorted(called) == list(range(5))


@pytest.mark.parametrize("timeout", [None, 30.0])
async def test_a_function_that_waits_for_a_thread_is_not_called_once_its_run_has_ended(
    lab: Lab, timeout: float | None
) -> None:
    engine = await lab.engine(threads=1)
    release, called = threading.Event(), []

    @step
    def blocks() -> None:
        assert release.wait(20)

    @step(timeout=timeout)
    def late() -> None:
        called.append("late")

    @workflow(name="unruly.blocker")
    async def blocker() -> None:
        await blocks()

    @workflow(name="unruly.late")
    async def too_late() -> None:
        await late()

    first, second = await engine.start_run(blocker), await engine.start_run(too_late)
    await at_work(engine, second)
    await second.cancel()
    with pytest.raises(RunCancelled):
        await second.result(timeout=10)
    release.set()
    await first.result(timeout=10)

    assert called == []


async def test_a_transactional_step_past_its_time_changes_nothing(lab: Lab, engine: Engine) -> None:
    @step(transactional=True, timeout=0.05)
    def dawdles(tx: Transaction) -> None:
        add_note(tx, "late")
        time.sleep(0.2)

    @workflow(name="unruly.dawdles")
    async def dawdling() -> None:
        await dawdles()

    handle = await engine.start_run(dawdling)
    with pytest.raises(RunFailed, match=r"took longer than 0\.05 s"):
        await handle.result(timeout=10)

    assert lab.notes() == []
    assert "step_timeout" in await event_types(engine, handle)


# places
@workflow(name="unruly.child", queue="narrow")
async def child() -> str:
    return "done"


@workflow(name="unruly.parent", queue="narrow")
async def parent() -> None:
    async def ticks() -> None:
        for _ in range(100_000):
            await sleep(0.02)

    await gather(child(), ticks())


async def test_a_parent_that_sleeps_a_little_keeps_no_place_from_its_child(engine: Engine) -> None:
    await engine.set_queue("narrow", limit=1)
    handle = await engine.start_run(parent)

    async def child_is_done() -> bool:
        return any(run.name == child.name and run.status == "succeeded" for run in await engine.list_runs())

    await wait_until_async(child_is_done, what="the child")
    await handle.cancel()
    await status_of(handle, "cancelled")


# orders
@pytest.mark.parametrize("action,status", [("cancel", "cancelled"), ("pause", "paused")])
async def test_what_a_dead_holder_was_told_is_done_without_one_that_knows_the_code(
    lab: Lab, action: str, status: str
) -> None:
    engine = await lab.engine()
    door = asyncio.Event()

    @step
    async def stuck() -> None:
        await door.wait()

    @workflow(name="unruly.stuck")
    async def holding() -> None:
        await stuck()

    watching = await lab.engine(worker=False)
    handle = await engine.start_run(holding)
    await at_work(engine, handle)
    lab.freeze(engine)
    assert (await watching.control(handle.run_id, action)).result == "sent"
    await lab.crash(engine)

    view = await status_of(watching.handle(handle.run_id), status)
    assert view.holder is None
