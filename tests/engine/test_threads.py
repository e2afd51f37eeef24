"""Steps that are plain functions: they run in threads, and a thread cannot be stopped."""

import asyncio
import threading
from contextvars import ContextVar

import pytest

from tests.engine.lab import Lab, status_of
from tests.support.waiting import wait_until_async
from windlass import Engine, RunCancelled, RunFailed, gather, step, step_info, workflow

TRACE: ContextVar[str] = ContextVar("trace", default="none")


async def test_a_plain_function_runs_in_a_thread_and_leaves_the_loop_free(engine: Engine) -> None:
    release = threading.Event()
    threads = []

    @step
    def blocking() -> str:
        threads.append(threading.current_thread())
        assert release.wait(10)
        return "done"

    @step
    async def frees() -> None:
        release.set()

    @workflow
    async def both() -> list[object]:
        return await gather(blocking(), frees())

    assert await (await engine.start_run(both)).result(timeout=10) == ["done", None]
    assert threads[0] is not threading.main_thread()


async def test_a_plain_function_knows_its_step_and_its_caller_s_context(engine: Engine) -> None:
    @step
    def who() -> list[object]:
        return [step_info().path, step_info().attempt, TRACE.get()]

    @workflow
    async def caller() -> list[object]:
        TRACE.set("abc")
        return await who()

    assert await (await engine.start_run(caller)).result(timeout=10) == ["who#1", 1, "abc"]


async def test_a_plain_function_is_tried_again_when_it_fails(engine: Engine) -> None:
    attempts = []

    @step(retries=2, backoff=0)
    def flaky() -> int:
        attempts.append(step_info().attempt)
        if len(attempts) < 3:
            raise OSError("no")
        return len(attempts)

    @workflow
    async def caller() -> int:
        return await flaky()

    assert await (await engine.start_run(caller)).result(timeout=10) == 3
    assert attempts == [1, 2, 3]


async def test_no_more_functions_run_at_once_than_there_are_threads(lab: Lab) -> None:
    engine = await lab.engine(threads=2)
    running, most = [0], [0]
    lock = threading.Lock()
    together = threading.Barrier(2)

    @step
    def counted() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        together.wait(10)
        with lock:
            running[0] -= 1

    @workflow
    async def many() -> None:
        await gather(*(counted() for _ in range(10)))

    await (await engine.start_run(many)).result(timeout=10)

    assert most == [2]


async def test_a_function_past_its_time_is_dropped_and_tried_again_only_once_it_has_returned(engine: Engine) -> None:
    release = threading.Event()
    log: list[str] = []

    @step(retries=1, backoff=0, timeout=0.02)
    def slow() -> str:
        attempt = step_info().attempt
        log.append(f"begin {attempt}")
        if attempt == 1:
            release.wait(10)
        log.append(f"end {attempt}")
        return f"result {attempt}"

    @step(timeout=0.1)
    async def slower() -> None:
        await asyncio.Event().wait()

    @workflow
    async def timed() -> str:
        return await slow()

    @workflow
    async def later() -> None:
        await slower()

    handle = await engine.start_run(timed)
    await wait_until_async(lambda: log == ["begin 1"])
    with pytest.raises(RunFailed, match="StepTimeout"):
        await (await engine.start_run(later)).result(timeout=10)
    assert log == ["begin 1"]
    release.set()

    assert await handle.result(timeout=10) == "result 2"
    assert log == ["begin 1", "end 1", "begin 2", "end 2"]


async def test_an_abandoned_function_does_not_hold_up_its_retry(engine: Engine) -> None:
    release = threading.Event()
    ended = []

    @step(retries=1, backoff=0, timeout=0.02, abandon=True)
    def stuck() -> str:
        attempt = step_info().attempt
        if attempt == 1:
            release.wait(10)
        ended.append(attempt)
        return f"result {attempt}"

    @workflow
    async def impatient() -> str:
        return await stuck()

    handle = await engine.start_run(impatient)

    assert await handle.result(timeout=10) == "result 2"
    assert ended == [2]
    release.set()
    await wait_until_async(lambda: ended == [2, 1])
    assert (await handle.status()).outputs == "result 2"


async def test_a_dropped_function_keeps_its_thread_until_it_returns(lab: Lab) -> None:
    engine = await lab.engine(threads=1)
    release = threading.Event()
    ended = []

    @step(timeout=0.02, abandon=True)
    def stuck() -> None:
        release.wait(10)
        ended.append("stuck")

    @step
    def waiting() -> None:
        ended.append("waiting")

    @workflow
    async def first() -> None:
        await stuck()

    @workflow
    async def second() -> None:
        await waiting()

    handle = await engine.start_run(first)
    with pytest.raises(RunFailed, match="StepTimeout"):
        await handle.result(timeout=10)
    behind = await engine.start_run(second)
    await wait_until_async(lambda: behind.run_id in engine.worker.runs)
    assert ended == []
    release.set()
    await behind.result(timeout=10)

    assert ended == ["stuck", "waiting"]


async def test_what_a_function_returns_after_its_run_was_cancelled_is_refused(engine: Engine) -> None:
    begun, release, ended = threading.Event(), threading.Event(), threading.Event()

    @step
    def slow() -> str:
        begun.set()
        release.wait(10)
        ended.set()
        return "too late"

    @workflow
    async def cancelled() -> str:
        return await slow()

    handle = await engine.start_run(cancelled)
    await wait_until_async(begun.is_set)
    await handle.cancel()
    with pytest.raises(RunCancelled):
        await handle.result(timeout=10)
    release.set()
    await wait_until_async(ended.is_set)

    view = await status_of(handle, "cancelled")
    assert view.outputs is None
    assert "step_completed" not in [event.type for event in await engine.events(handle.run_id)]
