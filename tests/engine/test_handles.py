"""Handles: any process with the same database can watch a run, wait for it and speak to it."""

import asyncio

import pytest

from tests.engine.lab import Lab, parked, status_of
from tests.support.waiting import wait_until_async
from windlass import Engine, RunCancelled, RunFailed, UnknownRun, signal, sleep, step, workflow
from windlass.kernel.errors import Unavailable


@step
async def double(number: int) -> int:
    return 2 * number


@workflow
async def doubling(number: int) -> int:
    return await double(number)


@workflow
async def asking() -> object:
    return await signal("answer")


@workflow
async def failing() -> None:
    raise ValueError("no")


@pytest.fixture
async def working(lab: Lab) -> Engine:
    """A process that carries runs out."""
    return await lab.engine()


@pytest.fixture
async def watching(lab: Lab, working: Engine) -> Engine:
    """A process that only starts and watches runs."""
    return await lab.engine(worker=False)


async def test_the_result_is_heard_in_another_process(working: Engine, watching: Engine) -> None:
    handle = await watching.start_run(doubling, 4)

    assert await handle.result(timeout=10) == 8
    assert await working.handle(handle.run_id).result(timeout=10) == 8
    assert watching.worker.runs == {}


async def test_the_result_of_a_run_that_ended_long_ago_is_there(lab: Lab, working: Engine) -> None:
    handle = await working.start_run(doubling, 4)
    await handle.result(timeout=10)
    late = await lab.engine(worker=False)

    assert await late.handle(handle.run_id).result(timeout=10) == 8


async def test_many_may_wait_for_one_run(working: Engine, watching: Engine) -> None:
    handle = await working.start_run(asking)
    handles = [engine.handle(handle.run_id) for engine in (working, watching) for _ in range(5)]
    waiting = [asyncio.ensure_future(each.result(timeout=10)) for each in handles]
    await parked(handle)
    await handle.signal("answer", 42)

    assert await asyncio.gather(*waiting) == [42] * 10


async def test_failure_and_cancellation_are_heard_as_such(working: Engine, watching: Engine) -> None:
    failed = await watching.start_run(failing)
    cancelled = await watching.start_run(asking)
    await parked(cancelled)
    await cancelled.cancel("enough")

    with pytest.raises(RunFailed, match=f"run {failed.run_id} failed: no") as caught:
        await failed.result(timeout=10)
    assert caught.value.data["run_id"] == failed.run_id
    assert caught.value.data["error"] == {"type": "ValueError", "message": "no", "failed_steps": []}
    with pytest.raises(RunCancelled, match="was cancelled: enough"):
        await cancelled.result(timeout=10)


async def test_a_handle_speaks_to_its_run_from_anywhere(working: Engine, watching: Engine) -> None:
    handle = watching.handle((await working.start_run(asking)).run_id)
    await parked(handle)

    assert (await handle.pause()).result == "applied"
    assert (await handle.resume()).result == "applied"
    await parked(handle)
    assert await handle.signal("answer", [1])
    assert await handle.result(timeout=10) == [1]
    assert repr(handle) == f"<run {handle.run_id}>"


async def test_waiting_no_longer_than_one_likes_leaves_the_run_alone(working: Engine, watching: Engine) -> None:
    handle = await working.start_run(asking)

    for engine in (working, watching):
        with pytest.raises(TimeoutError):
            await engine.handle(handle.run_id).result(timeout=0.01)
    assert (await handle.status()).status == "running"
    assert working.worker.results == watching.worker.results == {}
    await handle.signal("answer", 1)
    assert await handle.result(timeout=10) == 1


async def test_a_caller_that_is_cancelled_leaves_the_run_alone(working: Engine) -> None:
    handle = await working.start_run(asking)
    await parked(handle)
    waiting = asyncio.ensure_future(handle.result())
    await wait_until_async(lambda: handle.run_id in working.worker.results)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await handle.signal("answer", 1)

    assert await handle.result(timeout=10) == 1
    assert working.worker.results == {}


async def test_a_caller_cancelled_while_it_starts_a_run_may_have_started_it(working: Engine) -> None:
    starting = asyncio.ensure_future(working.start_run(doubling, 4, run_id="perhaps"))
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    assert await working.handle("perhaps").result(timeout=10) == 8
    await wait_until_async(lambda: not working.worker.runs)
    assert (working.worker.active, working.worker.births) == (0, 0)


async def test_unknown_runs_are_unknown(working: Engine) -> None:
    nobody = working.handle("nobody")

    for asking_for in (nobody.result(timeout=10), nobody.status(), nobody.cancel(), nobody.signal("x")):
        with pytest.raises(UnknownRun, match="no run nobody"):
            await asking_for
    assert await working.events("nobody") == []


async def test_results_are_plain_json_values(working: Engine) -> None:
    @workflow
    async def pair() -> tuple[int, set[str]]:
        return 1, {"a"}

    assert await (await working.start_run(pair)).result(timeout=10) == [1, ["a"]]


async def test_the_run_tells_where_it_stands(working: Engine, lab: Lab) -> None:
    @workflow
    async def story() -> str:
        await sleep(days=1)
        await signal("go")
        return "end"

    handle = await working.start_run(story)
    view = await parked(handle)
    assert (view.status, view.wait_reason, view.last_seq) == ("running", "timer", 2)
    lab.pass_time(days=1)

    async def listening() -> bool:
        view = await handle.status()
        return view.wait_reason == "signal:go" and view.holder is None

    await wait_until_async(listening)
    await handle.signal("go")
    view = await status_of(handle, "succeeded")
    assert (view.outputs, view.wait_reason, view.wake_at) == ("end", None, None)


async def test_who_waits_hears_that_the_process_has_stopped(lab: Lab) -> None:
    engine = await lab.engine()
    handle = await engine.start_run(asking)
    await parked(handle)
    waiting = asyncio.ensure_future(handle.result())
    await wait_until_async(lambda: handle.run_id in engine.worker.results)

    await lab.stop(engine)

    with pytest.raises(Unavailable, match="has been stopped"):
        await asyncio.wait_for(waiting, 10)


async def test_without_polls_everything_is_heard_by_doorbell(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.engine.worker.POLL_SECONDS", 3600.0)

    @workflow(queue="there")
    async def child(number: int) -> int:
        return await double(number)

    @workflow(queue="here")
    async def parent() -> object:
        return [await child(1), await signal("go")]

    here, there = await lab.engine(queues=["here"]), await lab.engine(queues=["there"])
    outside = await lab.engine(worker=False)
    handle = await outside.start_run(parent)
    cancelled = await outside.start_run(parent)
    hearing = asyncio.ensure_future(handle.result(timeout=10))
    for each in (handle, cancelled):
        await wait_until_async(lambda each=each: listens(outside, each.run_id))  # type: ignore[misc]
    await outside.signal(handle.run_id, "go", 1)
    await outside.control(cancelled.run_id, "cancel")

    assert await hearing == [2, 1]
    with pytest.raises(RunCancelled):
        await cancelled.result(timeout=10)
    assert here.worker.runs == there.worker.runs == {}


async def listens(engine: Engine, run_id: str) -> bool:
    view = await engine.get_run(run_id)
    return view.wait_reason == "signal:go" and view.holder is None
