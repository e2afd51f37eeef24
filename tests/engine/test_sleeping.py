"""Sleep: a row in the database, not a task; it lasts as long as it was asked to, whatever happens meanwhile."""

import asyncio
import gc
import math
from datetime import UTC, datetime, timedelta

import pytest

from tests.engine.lab import Lab, event_types, parked, payloads
from tests.support.waiting import wait_until_async
from windlass import Engine, RunFailed, gather, signal, sleep, sleep_until, step, workflow
from windlass.engine.errors import Suspend
from windlass.engine.run import Run
from windlass.kernel.clock import SECOND, from_iso, to_datetime


@workflow
async def nap(days: float) -> str:
    await sleep(days=days)
    return "awake"


async def test_a_sleeping_run_is_a_row_and_wakes_when_its_time_has_come(engine: Engine, lab: Lab) -> None:
    begun = lab.clock.now()
    handle = await engine.start_run(nap, 3)
    view = await parked(handle)

    assert (view.status, view.wait_reason, view.holder) == ("running", "timer", None)
    assert view.wake_at is not None
    assert 0 <= from_iso(view.wake_at) - begun - 3 * 86400 * SECOND < 60 * SECOND
    await wait_until_async(lambda: engine.worker.runs == {}, what="a worker without runs")

    lab.pass_time(days=2)
    assert (await handle.status()).holder is None
    lab.pass_time(days=1)

    assert await handle.result(timeout=10) == "awake"
    assert await event_types(engine, handle) == ["run_started", "timer_started", "timer_fired", "run_completed"]


async def test_a_moment_is_slept_in_memory(engine: Engine) -> None:
    @workflow
    async def blink() -> None:
        await sleep(0.001)
        await sleep()

    handle = await engine.start_run(blink)
    await handle.result(timeout=10)

    assert (await event_types(engine, handle)).count("timer_fired") == 2


async def test_units_add_up(engine: Engine) -> None:
    @workflow
    async def long() -> None:
        await sleep(1, minutes=2, hours=3, days=4)

    handle = await engine.start_run(long)
    await parked(handle)

    started = [event for event in await engine.events(handle.run_id) if event.type == "timer_started"]
    [payload] = await payloads(engine, handle, "timer_started")
    assert round((payload["due_at"] - started[0].at) / SECOND) == 4 * 86400 + 3 * 3600 + 121


async def test_a_restart_does_not_begin_the_sleep_anew(lab: Lab) -> None:
    first = await lab.engine()
    handle = await first.start_run(nap, 10)
    wake_at = (await parked(handle)).wake_at
    lab.clock.move(days=6)
    await lab.crash(first)
    second = await lab.engine()
    again = second.handle(handle.run_id)
    assert (await again.status()).wake_at == wake_at

    lab.pass_time(days=4)

    assert await again.result(timeout=10) == "awake"


async def test_a_run_wakes_though_nobody_was_there_when_its_time_came(lab: Lab) -> None:
    first = await lab.engine()
    handle = await first.start_run(nap, 1)
    await parked(handle)
    await lab.stop(first)
    lab.clock.move(days=30)
    second = await lab.engine()

    assert await second.handle(handle.run_id).result(timeout=10) == "awake"


async def test_sleep_until_a_point_in_time_in_any_zone(engine: Engine, lab: Lab) -> None:
    due = to_datetime(lab.clock.now()) + timedelta(days=1)

    @workflow
    async def appointment(when: datetime) -> str:
        await sleep_until(when)
        return "there"

    handle = await engine.start_run(appointment, due.astimezone(tz=None))
    view = await parked(handle)
    assert view.wake_at is not None
    assert abs(from_iso(view.wake_at) / SECOND - due.timestamp()) < 0.001

    lab.pass_time(days=1)
    assert await handle.result(timeout=10) == "there"


async def test_a_time_that_is_over_is_not_waited_for(engine: Engine) -> None:
    @workflow
    async def late() -> str:
        await sleep_until(datetime(2020, 1, 1, tzinfo=UTC))
        return "there"

    assert await (await engine.start_run(late)).result(timeout=10) == "there"


async def test_a_loop_over_no_sleep_at_all_leaves_room_for_others(engine: Engine) -> None:
    begun, over = asyncio.Event(), asyncio.Event()

    @workflow
    async def restless() -> str:
        begun.set()
        for _ in range(10_000):
            if over.is_set():
                return "heard"
            await sleep(0)
        return "heard nothing"

    handle = await engine.start_run(restless)
    await begun.wait()
    over.set()

    assert await handle.result(timeout=10) == "heard"


async def test_what_cannot_be_slept_is_refused(engine: Engine) -> None:
    @workflow
    async def backwards() -> None:
        await sleep(-1)

    @workflow
    async def nowhere() -> None:
        await sleep_until(datetime(2030, 1, 1))  # noqa: DTZ001  the point of the test

    @workflow
    async def odd(days: float) -> None:
        await sleep(days=math.nan if days == 0 else days)

    with pytest.raises(RunFailed, match="sleep must be between 0 and"):
        await (await engine.start_run(backwards)).result(timeout=10)
    for days in (0, 1e12, 3_650_000):
        with pytest.raises(RunFailed, match="sleep must be between 0 and"):
            await (await engine.start_run(odd, days)).result(timeout=10)
    with pytest.raises(RunFailed, match="needs a date-time with a zone"):
        await (await engine.start_run(nowhere)).result(timeout=10)
    with pytest.raises(RuntimeError, match="sleep works inside a workflow only"):
        await sleep(1)


async def test_branches_sleep_side_by_side_and_wake_one_by_one(engine: Engine, lab: Lab) -> None:
    woken: list[int] = []

    @step
    async def wake(days: int) -> int:
        woken.append(days)
        return days

    @workflow
    async def dormitory() -> list[int]:
        async def sleeper(days: int) -> int:
            await sleep(days=days)
            return await wake(days)

        return await gather(sleeper(3), sleeper(1), sleeper(2))

    handle = await engine.start_run(dormitory)
    for day in (1, 2, 3):
        await parked(handle)
        lab.pass_time(days=1)
        await wait_until_async(lambda day=day: len(woken) == day)  # type: ignore[misc]

    assert await handle.result(timeout=10) == [3, 1, 2]
    assert woken == [1, 2, 3]


async def test_a_sleep_beside_a_busy_branch_keeps_its_time_over_a_crash(lab: Lab) -> None:
    begun, never = asyncio.Event(), asyncio.Event()

    @step
    async def long() -> str:
        if not begun.is_set():
            begun.set()
            await never.wait()
        return "second time"

    @workflow
    async def both() -> list[object]:
        return await gather(sleep(days=1), long())

    first = await lab.engine()
    handle = await first.start_run(both)
    await begun.wait()
    await wait_until_async(lambda: written(first, handle.run_id))
    [before] = await payloads(first, handle, "timer_started")
    lab.clock.move(hours=20)
    await lab.crash(first)
    second = await lab.engine()
    again = second.handle(handle.run_id)
    await parked(again)

    [after] = await payloads(second, again, "timer_started")
    assert before == after
    lab.pass_time(hours=4)
    assert await again.result(timeout=10) == [None, "second time"]


async def written(engine: Engine, run_id: str) -> bool:
    return "timer_started" in [event.type for event in await engine.events(run_id)]


async def test_sleeping_runs_hold_no_task_and_no_place_in_memory(engine: Engine, lab: Lab) -> None:
    before = len(asyncio.all_tasks())

    handles = [await engine.start_run(nap, 1) for _ in range(300)]
    await wait_until_async(lambda: not engine.worker.runs)

    await wait_until_async(lambda: len(asyncio.all_tasks()) <= before)
    assert engine.worker.active == 0
    lab.pass_time(days=1)
    assert [await handle.result(timeout=10) for handle in handles] == ["awake"] * 300


async def test_a_run_that_leaves_memory_leaves_nothing_for_the_garbage_collector(engine: Engine) -> None:
    @workflow
    async def napping() -> None:
        await sleep(days=1)

    @workflow
    async def waiting() -> None:
        await gather(sleep(days=1), signal("news", timeout=86400), sleep(days=2))

    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for flow in (napping, waiting):
            handle = await engine.start_run(flow)
            await parked(handle)
            await wait_until_async(lambda: not engine.worker.runs)
            await asyncio.sleep(0)
        gc.collect()
        found = [left for left in gc.garbage if isinstance(left, (Run, Suspend))]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert found == []
