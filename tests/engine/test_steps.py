"""Steps that fail: attempts, pauses, time-outs, and errors that no further attempt can mend."""

import asyncio
import math
from contextlib import suppress
from typing import Any

import pytest

from tests.engine.lab import IN_MEMORY, Lab, event_types, parked, payloads
from tests.support.waiting import wait_until_async
from windlass import Engine, Fatal, Handle, RunFailed, StepFailed, step, step_info, workflow


class Flaky(Exception):
    pass


async def failed_times(engine: Engine, handle: Handle, times: int) -> None:
    """Wait until a run sleeps after its ``times``-th failed attempt."""

    async def failed() -> bool:
        return len(await payloads(engine, handle, "step_failed")) == times and (await handle.status()).holder is None

    await wait_until_async(failed)


async def test_a_failing_step_is_tried_again_until_it_succeeds(engine: Engine) -> None:
    attempts = []

    @step(retries=5, backoff=0.001)
    async def flaky() -> str:
        attempts.append(step_info().attempt)
        if len(attempts) < 3:
            raise Flaky("not yet")
        return "done"

    @workflow
    async def persistent() -> str:
        return await flaky()

    handle = await engine.start_run(persistent)

    assert await handle.result(timeout=10) == "done"
    assert attempts == [1, 2, 3]
    assert [failed["error"] for failed in await payloads(engine, handle, "step_failed")] == ["not yet"] * 2
    assert [done["attempt"] for done in await payloads(engine, handle, "step_completed")] == [3]


async def test_when_no_attempts_are_left_the_step_fails_with_its_last_error(engine: Engine) -> None:
    attempts = []

    @step(retries=2, backoff=0)
    async def broken() -> None:
        attempts.append(step_info().attempt)
        raise Flaky(f"attempt {len(attempts)}")

    heard: list[StepFailed] = []

    @workflow
    async def hopeless() -> None:
        try:
            await broken()
        except StepFailed as error:
            heard.append(error)
            raise

    handle = await engine.start_run(hopeless)
    with pytest.raises(RunFailed, match="step broken#1 failed: Flaky: attempt 3") as caught:
        await handle.result(timeout=10)

    assert attempts == [1, 2, 3]
    assert isinstance(heard[0].__cause__, Flaky)
    assert heard[0].data == {"step": "broken#1", "error_type": "Flaky", "attempts": 3}
    error = caught.value.data["error"]
    assert isinstance(error, dict)
    assert (error["type"], error["step"], error["error_type"]) == ("StepFailed", "broken#1", "Flaky")
    view = await handle.status()
    assert (view.status, view.status_reason, view.outputs) == ("failed", "StepFailed", None)
    assert view.error == error


async def test_a_step_is_tried_once_unless_it_says_otherwise(engine: Engine) -> None:
    attempts = []

    @step
    async def once() -> None:
        attempts.append(1)
        raise Flaky

    @workflow
    async def single() -> None:
        await once()

    with pytest.raises(RunFailed):
        await (await engine.start_run(single)).result(timeout=10)
    assert attempts == [1]


async def test_a_fatal_error_is_not_tried_again(engine: Engine) -> None:
    attempts = []

    @step(retries=5, backoff=0)
    async def forbidden() -> None:
        attempts.append(1)
        raise Fatal("card stolen")

    @step(retries=5, backoff=0, fatal=(PermissionError,))
    async def denied() -> None:
        attempts.append(2)
        raise PermissionError("no")

    @step(retries=5, backoff=0, retry_on=(ConnectionError,))
    async def choosy() -> None:
        attempts.append(3)
        raise KeyError("k")

    @workflow
    async def doomed(which: int) -> None:
        await (forbidden, denied, choosy)[which]()

    for which, message in enumerate(["Fatal: card stolen", "PermissionError: no", "KeyError: 'k'"]):
        with pytest.raises(RunFailed, match=message):
            await (await engine.start_run(doomed, which)).result(timeout=10)
    assert attempts == [1, 2, 3]


async def test_only_errors_worth_it_are_tried_again(engine: Engine) -> None:
    attempts = []

    @step(retries=5, backoff=0, retry_on=(ConnectionError,))
    async def network() -> int:
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionResetError
        return len(attempts)

    @workflow
    async def caller() -> int:
        return await network()

    assert await (await engine.start_run(caller)).result(timeout=10) == 3


async def test_a_workflow_may_catch_a_failed_step_and_go_on(engine: Engine) -> None:
    @step
    async def broken() -> None:
        raise Flaky("no")

    @step
    async def plan_b() -> str:
        return "b"

    @workflow
    async def careful() -> str:
        try:
            await broken()
        except StepFailed:
            return await plan_b()
        return "a"

    assert await (await engine.start_run(careful)).result(timeout=10) == "b"


async def test_the_pause_before_an_attempt_keeps_within_the_policy(engine: Engine, lab: Lab) -> None:
    @step(retries=1, backoff=100, jitter=0.25)
    async def broken() -> None:
        raise Flaky

    @workflow
    async def waits() -> None:
        await broken()

    handles = [await engine.start_run(waits) for _ in range(8)]
    for handle in handles:
        await parked(handle)

    seconds = []
    for handle in handles:
        failed = [event for event in await engine.events(handle.run_id) if event.type == "step_failed"]
        [payload] = await payloads(engine, handle, "step_failed")
        seconds.append((payload["retry_at"] - failed[0].at) / 1e6)
    assert all(75 <= pause <= 100 for pause in seconds), seconds
    assert len(set(seconds)) > 1


async def test_pauses_grow_up_to_the_cap(engine: Engine, lab: Lab) -> None:
    @step(retries=4, backoff=100, factor=3, cap=500, jitter=0)
    async def broken() -> None:
        raise Flaky

    @workflow
    async def waits() -> None:
        await broken()

    handle = await engine.start_run(waits)
    for attempt in range(1, 5):
        await failed_times(engine, handle, attempt)
        lab.pass_time(seconds=501)
    with pytest.raises(RunFailed):
        await handle.result(timeout=10)

    events = [event for event in await engine.events(handle.run_id) if event.type == "step_failed"]
    retries = [payload.get("retry_at") for payload in await payloads(engine, handle, "step_failed")]
    assert [at and round((at - event.at) / 1e6) for at, event in zip(retries, events, strict=True)] == [
        100,
        300,
        500,
        500,
        None,
    ]


async def test_a_run_that_waits_long_for_its_next_attempt_leaves_memory(engine: Engine, lab: Lab) -> None:
    attempts = []

    @step(retries=1, backoff=3600, jitter=0)
    async def flaky() -> str:
        attempts.append(step_info().attempt)
        if len(attempts) == 1:
            raise Flaky
        return "at last"

    @workflow
    async def patient() -> str:
        return await flaky()

    handle = await engine.start_run(patient)
    view = await parked(handle)
    assert view.wake_at is not None
    await wait_until_async(lambda: not engine.worker.runs, what="the run to have left memory")

    lab.pass_time(hours=1)

    assert await handle.result(timeout=10) == "at last"
    assert attempts == [1, 2]


async def test_an_attempt_that_takes_too_long_is_cancelled_and_tried_again(engine: Engine) -> None:
    cancelled = []

    @step(retries=1, backoff=0, timeout=0.02)
    async def slow() -> str:
        if step_info().attempt == 2:
            return "quick"
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(step_info().attempt)
            raise
        return "never"

    @workflow
    async def timed() -> str:
        return await slow()

    handle = await engine.start_run(timed)

    assert await handle.result(timeout=10) == "quick"
    assert cancelled == [1]
    assert "step_timeout" in await event_types(engine, handle)
    [failed] = await payloads(engine, handle, "step_failed")
    assert (failed["error_type"], failed["error"]) == ("StepTimeout", "step slow took longer than 0.02 s")


async def test_a_time_out_of_the_code_s_own_is_not_the_step_s(engine: Engine) -> None:
    @step(timeout=60)
    async def impatient() -> None:
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()

    @workflow
    async def caller() -> None:
        await impatient()

    with pytest.raises(RunFailed, match="failed: TimeoutError"):
        await (await engine.start_run(caller)).result(timeout=10)


async def test_attempts_count_on_after_a_restart(lab: Lab) -> None:
    attempts = []

    @step(retries=2, backoff=1000, jitter=0)
    async def flaky() -> str:
        attempts.append(step_info().attempt)
        if len(attempts) < 3:
            raise Flaky
        return "done"

    @workflow
    async def persistent() -> str:
        return await flaky()

    first = await lab.engine()
    handle = await first.start_run(persistent)
    await parked(handle)
    await lab.crash(first)
    second = await lab.engine()
    again = second.handle(handle.run_id)
    lab.pass_time(seconds=1001)
    await failed_times(second, again, 2)
    lab.pass_time(seconds=2001)

    assert await again.result(timeout=10) == "done"
    assert attempts == [1, 2, 3]


async def test_a_step_cancelled_by_its_own_code_fails_like_any_other(engine: Engine) -> None:
    @step
    async def gives_up() -> None:
        task = asyncio.create_task(asyncio.Event().wait())
        task.cancel()
        await task

    @workflow
    async def caller() -> None:
        await gives_up()

    with pytest.raises(RunFailed, match="CancelledError"):
        await (await engine.start_run(caller)).result(timeout=10)


@pytest.mark.parametrize(
    "options,message",
    [
        ({"retries": -1}, "retries must be between"),
        ({"backoff": -1}, "backoff must be between"),
        ({"jitter": 1.5}, "jitter must be between"),
        ({"factor": 0.5}, "factor must be between"),
        ({"retries": 1.5}, "step s: retries must be a whole number"),
        ({"retries": "3"}, "step s: retries must be between"),
        ({"backoff": math.nan}, "step s: backoff must be between"),
        ({"cap": math.inf}, "step s: cap must be between"),
        ({"timeout": 0}, "step s: timeout must be above 0"),
        *(({"timeout": value}, "step s: timeout must be between") for value in (-1, math.nan, math.inf, True, "1")),
        ({"name": "no spaces"}, "is no name"),
    ],
)
def test_a_wrong_option_is_refused_where_it_is_written(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        step(**{"name": "s", **options})(lambda: None)  # type: ignore[call-overload]


@pytest.mark.parametrize("option", ["fatal", "retry_on"])
@pytest.mark.parametrize("errors", ["Boom", ("Boom",), (OSError, int), [OSError()], OSError(), 3])
def test_what_is_no_error_is_refused_where_it_is_written(option: str, errors: object) -> None:
    with pytest.raises(TypeError, match=f"step s: {option} takes types of errors"):
        step(**{"name": "s", option: errors})(lambda: None)  # type: ignore[call-overload]


@IN_MEMORY
@pytest.mark.parametrize("errors", [OSError, [OSError], {OSError, KeyError}, (OSError,)])
async def test_types_of_errors_may_be_one_or_several(engine: Engine, errors: Any) -> None:
    attempts: list[str] = []

    def attempt(name: str) -> None:
        attempts.append(name)
        raise OSError

    @step(retries=1, backoff=0, fatal=errors)
    async def given_up() -> None:
        attempt("given up")

    @step(retries=1, backoff=0, retry_on=errors)
    async def tried_again() -> None:
        attempt("tried again")

    @workflow
    async def caller() -> None:
        for one in (given_up, tried_again):
            with suppress(StepFailed):
                await one()

    await (await engine.start_run(caller)).result(timeout=10)

    assert attempts == ["given up", "tried again", "tried again"]
