"""Retry: a failed run is opened again at what failed it, and at nothing else."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.lab import Lab, event_types, parked, status_of
from tests.support.waiting import wait_until_async
from windlass import (
    Engine,
    Handle,
    RunConflict,
    RunFailed,
    SignalTimeout,
    StepFailed,
    UnknownRun,
    gather,
    map,  # noqa: A004
    signal,
    sleep,
    step,
    workflow,
)
from windlass.engine.types import Ended, RunFilter


class World:
    """What is broken outside, and how often each step was executed."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.executed: Counter[str] = Counter()


world = World()


@pytest.fixture(autouse=True)
def _new_world() -> None:
    world.broken = set()
    world.executed = Counter()


@step
async def do(name: str) -> str:
    world.executed[name] += 1
    if name in world.broken:
        raise OSError(f"{name} is broken")
    return name


async def fail(handle: Handle, match: str = ".") -> None:
    """Wait until a run has failed."""
    with pytest.raises(RunFailed, match=match):
        await handle.result(timeout=10)


async def mend_and_retry(handle: Handle) -> None:
    """Remove the cause and retry."""
    world.broken = set()
    assert (await handle.retry()).result == "applied"


async def test_only_the_failed_step_runs_again(engine: Engine) -> None:
    @workflow
    async def chain() -> str:
        return await do("a") + await do("b") + await do("c")

    world.broken = {"b"}
    handle = await engine.start_run(chain)
    await fail(handle, "b is broken")
    failed = await handle.status()
    assert failed.error is not None
    await mend_and_retry(handle)

    assert await handle.result(timeout=10) == "abc"
    assert world.executed == {"a": 1, "b": 2, "c": 1}
    view = await handle.status()
    assert (view.status, view.error, view.outputs) == ("succeeded", None, "abc")
    assert "run_retried" in await event_types(engine, handle)


async def test_a_retried_step_has_all_its_attempts_again(engine: Engine) -> None:
    attempts: list[int] = []

    @step(retries=2, backoff=0)
    async def stubborn() -> str:
        attempts.append(len(attempts))
        if len(attempts) < 6:
            raise OSError
        return "done"

    @workflow
    async def run() -> str:
        return await stubborn()

    handle = await engine.start_run(run)
    await fail(handle)
    await handle.retry()

    assert await handle.result(timeout=10) == "done"
    assert len(attempts) == 6


async def test_a_run_may_fail_and_be_retried_any_number_of_times(engine: Engine) -> None:
    @workflow
    async def chain() -> str:
        return await do("a") + await do("b")

    world.broken = {"b"}
    handle = await engine.start_run(chain)
    for _ in range(3):
        await fail(handle)
        await handle.retry()
    await fail(handle)
    await mend_and_retry(handle)

    assert await handle.result(timeout=10) == "ab"
    assert world.executed == {"a": 1, "b": 5}


async def test_a_retried_run_survives_a_crash(lab: Lab) -> None:
    @workflow
    async def chain() -> str:
        result = await do("a") + await do("b")
        await sleep(days=1)
        return result + await do("c")

    first = await lab.engine()
    world.broken = {"b"}
    handle = await first.start_run(chain)
    await fail(handle)
    await mend_and_retry(handle)
    await parked(handle)
    await lab.crash(first)
    lab.clock.move(days=1)
    second = await lab.engine()

    assert await second.handle(handle.run_id).result(timeout=10) == "abc"
    assert world.executed == {"a": 1, "b": 2, "c": 1}


async def test_a_failure_in_plain_code_is_retried_from_there(engine: Engine) -> None:
    @workflow
    async def chain() -> str:
        result = await do("a")
        if "plain" in world.broken:
            raise ValueError("plain code")
        return result + await do("b")

    world.broken = {"plain"}
    handle = await engine.start_run(chain)
    await fail(handle, "plain code")
    await mend_and_retry(handle)

    assert await handle.result(timeout=10) == "ab"
    assert world.executed == {"a": 1, "b": 1}


@pytest.mark.parametrize("cause", [True, False])
async def test_a_failure_under_another_name_is_found(engine: Engine, cause: bool) -> None:
    @workflow
    async def wrapped(cause: bool) -> str:
        try:
            return await do("a")
        except StepFailed as error:
            if cause:
                raise RuntimeError("order failed") from error
            raise RuntimeError("order failed")  # noqa: B904  the point of the test

    world.broken = {"a"}
    handle = await engine.start_run(wrapped, cause)
    await fail(handle, "order failed")
    await mend_and_retry(handle)

    assert await handle.result(timeout=10) == "a"


async def test_every_failed_branch_runs_again_and_no_other(engine: Engine) -> None:
    together = asyncio.Event()

    @step
    async def wait_for_all(name: str) -> str:
        world.executed[name] += 1
        if sum(world.executed.values()) == 6:
            together.set()
        await together.wait()
        if name in world.broken:
            raise OSError(name)
        return name

    @workflow
    async def fan_out() -> list[str]:
        return await map(wait_for_all, "abcdef")

    world.broken = {"b", "d", "e"}
    handle = await engine.start_run(fan_out)
    await fail(handle)
    await mend_and_retry(handle)

    assert await handle.result(timeout=10) == list("abcdef")
    assert world.executed["b"] == world.executed["d"] == world.executed["e"] == 2
    assert world.executed["a"] == world.executed["c"] == world.executed["f"] == 1


async def test_a_branch_cut_short_by_the_failure_goes_on(engine: Engine) -> None:
    cut = asyncio.Event()

    @step
    async def slow() -> str:
        world.executed["slow"] += 1
        if "a" in world.broken:
            cut.set()
            await asyncio.Event().wait()
        return "slow"

    @step
    async def fails_late() -> str:
        await cut.wait()
        return str(await do.fn("a"))

    @workflow
    async def pair() -> list[str]:
        async def long() -> str:
            return await do("before") + await slow()

        return await gather(long(), fails_late())

    world.broken = {"a"}
    handle = await engine.start_run(pair)
    await fail(handle)
    await mend_and_retry(handle)

    assert await handle.result(timeout=10) == ["beforeslow", "a"]
    assert world.executed == {"before": 1, "slow": 2, "a": 2}


async def test_a_caught_failure_stays_caught(engine: Engine) -> None:
    @workflow
    async def careful() -> str:
        try:
            result = await do("a")
        except StepFailed:
            result = await do("instead")
        return result + await do("b")

    world.broken = {"a", "b"}
    handle = await engine.start_run(careful)
    await fail(handle, "b is broken")
    await mend_and_retry(handle)

    assert await handle.result(timeout=10) == "insteadb"
    assert world.executed == {"a": 1, "instead": 1, "b": 2}


async def test_it_stays_caught_though_what_was_done_instead_failed(engine: Engine) -> None:
    @workflow
    async def careful() -> str:
        try:
            return await do("a")
        except StepFailed:
            return await do("instead")

    world.broken = {"a", "instead"}
    handle = await engine.start_run(careful)
    await fail(handle, "instead is broken")
    await mend_and_retry(handle)

    assert await handle.result(timeout=10) == "instead"
    assert world.executed == {"a": 1, "instead": 2}


async def test_a_failure_that_was_made_good_for_and_raised_again_stays(engine: Engine) -> None:
    @workflow
    async def careful() -> str:
        try:
            return await do("a")
        except StepFailed:
            await do("undo")
            raise

    world.broken = {"a"}
    handle = await engine.start_run(careful)
    await fail(handle, "a is broken")
    await mend_and_retry(handle)

    await fail(handle, "a is broken")
    assert world.executed == {"a": 1, "undo": 1}


async def test_a_failed_branch_that_the_code_went_on_after_stays_failed(engine: Engine) -> None:
    @workflow
    async def careful() -> str:
        try:
            await gather(do("a"), do("b"))
        except StepFailed as error:
            await do("undo")
            raise RuntimeError("gave up") from error
        return "never"

    world.broken = {"b"}
    handle = await engine.start_run(careful)
    await fail(handle, "gave up")
    await mend_and_retry(handle)

    await fail(handle, "gave up")
    assert world.executed == {"a": 1, "b": 1, "undo": 1}


async def children_of(engine: Engine, handle: Handle) -> list[Handle]:
    """Return handles of a run's children, oldest first."""
    found = await engine.list_runs(RunFilter(parent_run_id=handle.run_id, limit=100))
    return [engine.handle(view.run_id) for view in reversed(found)]


async def test_a_failed_child_goes_on_from_its_failed_step(engine: Engine) -> None:
    @workflow
    async def grandchild() -> str:
        return await do("e") + await do("f")

    @workflow
    async def child() -> str:
        return await do("b") + await do("c") + await grandchild()

    @workflow
    async def parent() -> str:
        return await do("a") + await child() + await do("d")

    world.broken = {"f"}
    handle = await engine.start_run(parent)
    await fail(handle, "f is broken")
    await mend_and_retry(handle)

    assert await handle.result(timeout=10) == "abcefd"
    assert world.executed == {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "f": 2}
    assert len(await children_of(engine, handle)) == 1


async def test_a_cancelled_child_is_started_anew(engine: Engine) -> None:
    @workflow
    async def child() -> str:
        await do("a")
        if "child" in world.broken:
            await signal("never")
        return await do("b")

    @workflow
    async def parent() -> str:
        return await child()

    world.broken = {"child"}
    handle = await engine.start_run(parent)
    await parked(handle)
    [kid] = await children_of(engine, handle)
    await parked(kid)
    await kid.cancel()
    await fail(handle, "cancelled")
    await mend_and_retry(handle)

    assert await handle.result(timeout=10) == "b"
    assert world.executed == {"a": 2, "b": 1}
    assert (await kid.status()).status == "cancelled"


async def test_a_child_taken_along_by_the_failure_is_started_anew(engine: Engine) -> None:
    @workflow
    async def child() -> str:
        if "a" in world.broken:
            await signal("never")
        return await do("b")

    @workflow
    async def parent() -> list[str]:
        async def late() -> str:
            await signal("fail")
            return await do("a")

        return await gather(child(), late())

    world.broken = {"a"}
    handle = await engine.start_run(parent)
    await parked(handle)
    [kid] = await children_of(engine, handle)
    await parked(kid)
    await handle.signal("fail")
    await fail(handle, "a is broken")
    await status_of(kid, "cancelled")
    await mend_and_retry(handle)

    assert await handle.result(timeout=10) == ["b", "a"]
    assert world.executed == {"a": 2, "b": 1}


async def test_a_child_that_ended_after_its_parent_failed_is_not_repeated(engine: Engine) -> None:
    @workflow
    async def child() -> str:
        return await do("b")

    @workflow
    async def parent() -> str:
        return await child()

    world.broken = {"b"}
    handle = await engine.start_run(parent)
    await fail(handle, "b is broken")
    [kid] = await children_of(engine, handle)
    world.broken = set()
    await kid.retry()
    assert await kid.result(timeout=10) == "b"
    await handle.retry()

    assert await handle.result(timeout=10) == "b"
    assert world.executed == {"b": 2}


async def test_a_signal_that_did_not_come_is_waited_for_again(engine: Engine, lab: Lab) -> None:
    @workflow
    async def patient() -> object:
        return await signal("news", timeout=3600)

    handle = await engine.start_run(patient)
    await parked(handle)
    lab.pass_time(hours=1)
    await fail(handle, "did not come in time")
    await handle.retry()
    wake_at = (await parked(handle)).wake_at
    lab.pass_time(minutes=50)
    await handle.signal("other")
    await wait_until_async(lambda: asleep_with(engine, handle.run_id, wake_at))
    await handle.signal("news", "good")

    assert await handle.result(timeout=10) == "good"


async def asleep_with(engine: Engine, run_id: str, wake_at: str | None) -> bool:
    view = await engine.get_run(run_id)
    return view.holder is None and view.wake_at == wake_at and view.wait_reason is not None


async def test_a_caught_time_out_stays_one(engine: Engine) -> None:
    @workflow
    async def impatient() -> str:
        try:
            await signal("news", timeout=0.001)
        except SignalTimeout:
            return await do("a")
        return "never"

    world.broken = {"a"}
    handle = await engine.start_run(impatient)
    await fail(handle, "a is broken")
    await mend_and_retry(handle)

    assert await handle.result(timeout=10) == "a"


async def test_who_has_not_failed_is_not_retried(engine: Engine) -> None:
    @workflow
    async def fine() -> str:
        return await do("a")

    @workflow
    async def waits() -> object:
        return await signal("x")

    succeeded = await engine.start_run(fine)
    await succeeded.result(timeout=10)
    waiting = await engine.start_run(waits)
    await parked(waiting)
    cancelled = await engine.start_run(waits)
    await cancelled.cancel()
    await status_of(cancelled, "cancelled")

    for handle, status in ((succeeded, "succeeded"), (waiting, "running"), (cancelled, "cancelled")):
        with pytest.raises(RunConflict, match=f"run is {status}, only a failed run can be retried"):
            await handle.retry()
    assert (await succeeded.status()).outputs == "a"
    with pytest.raises(UnknownRun):
        await engine.control("nobody", "retry")


async def test_a_retry_from_another_process_that_carries_nothing_out(lab: Lab) -> None:
    @workflow
    async def chain() -> str:
        return await do("a")

    working, watching = await lab.engine(), await lab.engine(worker=False)
    world.broken = {"a"}
    handle = watching.handle((await working.start_run(chain)).run_id)
    await fail(handle)
    await mend_and_retry(handle)

    assert await handle.result(timeout=10) == "a"


async def test_who_asks_after_a_retry_does_not_hear_of_the_end_before_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    @workflow
    async def patient() -> str:
        await signal("go")
        done = await do("a")
        await signal("end")
        return done

    working, watching = await lab.engine(), await lab.engine(worker=False)
    world.broken = {"a"}
    handle = watching.handle((await working.start_run(patient)).run_id)
    early = asyncio.create_task(handle.result(timeout=30))
    await parked(handle)
    has_read, door, read = asyncio.Event(), asyncio.Event(), watching.worker.read

    async def slowly(call: Callable[[], Any]) -> Any:
        found = await read(call)
        if isinstance(found, list) and found and isinstance(found[0], Ended):
            has_read.set()
            await door.wait()
        return found

    monkeypatch.setattr(watching.worker, "read", slowly)
    await working.signal(handle.run_id, "go")
    await has_read.wait()
    await mend_and_retry(handle)
    late = asyncio.create_task(handle.result(timeout=30))
    await wait_until_async(lambda: len(watching.worker.results.get(handle.run_id, [])) == 2, what="both")
    door.set()

    with pytest.raises(RunFailed):
        await early
    await working.signal(handle.run_id, "end")
    assert await late == "a"


async def test_nothing_that_succeeded_is_done_again_for_want_of_its_events(lab: Lab, engine: Engine) -> None:
    @workflow
    async def forgetful_child() -> str:
        return await do("b") + await do("c")

    @workflow
    async def forgetful() -> str:
        return await do("a") + await forgetful_child()

    world.broken = {"c"}
    handle = await engine.start_run(forgetful)
    await fail(handle, "c is broken")
    (child,) = await children_of(engine, handle)
    await engine.transact(lambda tx: lab.database.delete_events(tx, child.run_id, 2))
    world.broken = set()
    events = await event_types(engine, handle)

    for member in (handle, child):
        with pytest.raises(RunConflict, match=f"events of run {child.run_id} were deleted"):
            await member.retry()

    assert [(await member.status()).status for member in (handle, child)] == ["failed", "failed"]
    assert await event_types(engine, handle) == events
    assert world.executed == {"a": 1, "b": 1, "c": 1}
