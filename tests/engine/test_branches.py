"""``gather`` and ``map``: branches of one run side by side."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.engine.lab import Lab, event_types, journal, parked
from tests.support.waiting import wait_until_async
from windlass import (
    BareTaskError,
    Engine,
    RunFailed,
    SignalTimeout,
    StepFailed,
    gather,
    map,  # noqa: A004
    signal,
    sleep,
    step,
    workflow,
)


class Odd(Exception):
    pass


@step
async def even(number: int) -> int:
    if number % 2:
        raise Odd(number)
    return number


@step
async def same(number: int) -> int:
    return number


async def test_results_come_in_the_order_given_whoever_is_first(engine: Engine) -> None:
    gates = [asyncio.Event() for _ in range(3)]
    order: list[int] = []

    @step
    async def gated(number: int) -> int:
        await gates[number].wait()
        order.append(number)
        if number:
            gates[number - 1].set()
        return number

    @workflow
    async def race() -> list[int]:
        return await gather(*(gated(number) for number in range(3)))

    handle = await engine.start_run(race)
    gates[2].set()

    assert await handle.result(timeout=10) == [0, 1, 2]
    assert order == [2, 1, 0]


async def test_map_calls_a_function_for_every_item(engine: Engine) -> None:
    @workflow
    async def mapped() -> list[int]:
        async def both(number: int) -> int:
            return await same(number) + await same(10 * number)

        return await map(both, range(30), limit=4)

    handle = await engine.start_run(mapped)

    assert await handle.result(timeout=10) == [11 * number for number in range(30)]
    paths = {event.step_id for event in await journal(engine, handle) if event.type == "step_completed"}
    assert {"m1.0/same#1", "m1.0/same#2", "m1.29/same#2"} <= paths


@pytest.mark.parametrize("kind", ["gather", "map"])
async def test_no_more_branches_run_at_once_than_the_limit(engine: Engine, kind: str) -> None:
    running, most = 0, 0
    full = asyncio.Event()

    @step
    async def counted(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            full.set()
        await full.wait()
        await asyncio.sleep(0)
        running -= 1
        return number

    @workflow
    async def limited(kind: str) -> list[int]:
        if kind == "map":
            return await map(counted, range(20), limit=3)
        return await gather(*(counted(number) for number in range(20)), limit=3)

    assert await (await engine.start_run(limited, kind)).result(timeout=10) == list(range(20))
    assert most == 3


async def test_nothing_to_do_is_done_at_once(engine: Engine) -> None:
    @workflow
    async def idle() -> list[object]:
        return [await gather(), await map(same, [])]

    assert await (await engine.start_run(idle)).result(timeout=10) == [[], []]


async def test_branches_have_branches(engine: Engine) -> None:
    @workflow
    async def nested() -> list[list[int]]:
        async def row(number: int) -> list[int]:
            return await gather(*(same(10 * number + column) for column in range(3)))

        first = await map(row, range(3), limit=2)
        return first + await gather(row(7), row(8))

    handle = await engine.start_run(nested)

    assert await handle.result(timeout=10) == [[0, 1, 2], [10, 11, 12], [20, 21, 22], [70, 71, 72], [80, 81, 82]]
    paths = {event.step_id for event in await journal(engine, handle)}
    assert {"m1.2/g1.1/same#1", "g2.1/g1.0/same#1"} <= paths


async def test_the_first_failure_is_raised_and_stops_the_others(engine: Engine) -> None:
    stopped = []
    begun = asyncio.Event()

    @step
    async def endless() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append("endless")

    @step
    async def fails() -> None:
        await begun.wait()
        raise Odd("one")

    @workflow
    async def quarrel() -> str:
        try:
            await gather(endless(), fails())
        except StepFailed as error:
            return str(error)
        return ""

    handle = await engine.start_run(quarrel)

    assert await handle.result(timeout=10) == "step g1.1/fails#1 failed: Odd: one"
    assert stopped == ["endless"]


async def test_failures_may_be_returned_among_the_results(engine: Engine) -> None:
    @workflow
    async def tolerant() -> list[object]:
        results = await gather(*(even(number) for number in range(4)), return_exceptions=True)
        mapped = await map(even, range(4), return_exceptions=True)
        return [str(result) if isinstance(result, StepFailed) else result for result in [*results, *mapped]]

    assert await (await engine.start_run(tolerant)).result(timeout=10) == [
        0,
        "step g1.1/even#1 failed: Odd: 1",
        2,
        "step g1.3/even#1 failed: Odd: 3",
        0,
        "step m2.1/even#1 failed: Odd: 1",
        2,
        "step m2.3/even#1 failed: Odd: 3",
    ]


async def test_a_failure_in_plain_code_of_a_branch_counts_too(engine: Engine) -> None:
    @workflow
    async def broken() -> None:
        async def branch(number: int) -> None:
            await same(number)
            if number == 1:
                raise Odd(number)

        await map(branch, range(3))

    with pytest.raises(RunFailed, match="failed: 1"):
        await (await engine.start_run(broken)).result(timeout=10)


async def test_a_branch_whose_turn_never_comes_leaves_nothing_behind(engine: Engine) -> None:
    called: list[int] = []

    @step
    async def noted(number: int) -> int:
        called.append(number)
        return await even(number)

    @workflow
    async def short() -> None:
        await gather(*(noted(number) for number in (1, 2, 4, 6)), limit=1)

    @workflow
    async def mapped() -> None:
        await map(noted, (3, 8, 10), limit=1)

    for each in (short, mapped):
        with pytest.raises(RunFailed):
            await (await engine.start_run(each)).result(timeout=10)
    assert called == [1, 3]


async def test_a_branch_launched_in_the_moment_of_failure_leaves_nothing_behind(engine: Engine) -> None:
    async def fine() -> None: ...

    async def fails() -> None:
        raise Odd("no")

    @workflow
    async def unlucky() -> None:
        await gather(fine(), fails(), same(1), same(2), limit=2)

    with pytest.raises(RunFailed):
        await (await engine.start_run(unlucky)).result(timeout=10)
    gc.collect()


async def test_branches_wait_for_different_things(engine: Engine, lab: Lab) -> None:
    @workflow
    async def child() -> object:
        return await signal("go")

    @workflow
    async def waiting() -> list[object]:
        async def late() -> object:
            try:
                return await signal("never", timeout=3600)
            except SignalTimeout:
                return "time-out"

        return await gather(sleep(days=1), signal("news"), late(), child(), same(5))

    handle = await engine.start_run(waiting)
    view = await parked(handle)
    assert view.wait_reason == "3 things"
    await handle.signal("news", "n")
    await wait_until_async(lambda: again_asleep(engine, handle.run_id))
    lab.pass_time(hours=1)
    [kid] = [run for run in await engine.list_runs() if run.parent_run_id == handle.run_id]
    await engine.signal(kid.run_id, "go", "c")
    lab.pass_time(days=1)

    assert await handle.result(timeout=10) == [None, "n", "time-out", "c", 5]


async def again_asleep(engine: Engine, run_id: str) -> bool:
    view = await engine.get_run(run_id)
    return view.wait_reason == "2 things" and view.holder is None


async def test_a_step_in_a_task_of_the_code_s_own_is_refused_by_name(engine: Engine) -> None:
    refused: list[BareTaskError] = []

    @workflow
    async def astray() -> None:
        try:
            await asyncio.create_task(same(1))
        except BareTaskError as error:
            refused.append(error)
            raise

    with pytest.raises(RunFailed, match="step same was called from a task of its own"):
        await (await engine.start_run(astray)).result(timeout=10)
    assert refused[0].data == {"call": "step same"}


async def test_whatever_the_engine_offers_is_refused_in_a_bare_task(engine: Engine) -> None:
    @workflow
    async def child() -> None: ...

    @workflow
    async def astray(which: int) -> None:
        calls: list[Callable[[], Coroutine[Any, Any, Any]]]
        calls = [lambda: sleep(1), lambda: signal("x"), gather, lambda: map(same, []), child]
        await asyncio.create_task(calls[which]())

    for which, name in enumerate(["sleep", "signal 'x'", "gather", "map", "workflow"]):
        with pytest.raises(RunFailed, match=f"{name}.* was called from a task of its own"):
            await (await engine.start_run(astray, which)).result(timeout=10)


async def test_a_limit_below_one_is_refused(engine: Engine) -> None:
    @workflow
    async def none() -> None:
        await map(same, [1], limit=0)

    with pytest.raises(RunFailed, match="limit must be at least 1, not 0"):
        await (await engine.start_run(none)).result(timeout=10)


async def test_a_parked_run_with_branches_goes_quietly(engine: Engine, lab: Lab) -> None:
    @workflow
    async def quiet() -> list[object]:
        return await gather(sleep(days=1), gather(sleep(days=1), signal("x")), return_exceptions=True)

    handle = await engine.start_run(quiet)
    await parked(handle)
    await wait_until_async(lambda: not engine.worker.runs, what="the run to have left memory")
    assert len(await event_types(engine, handle)) == 3
    await handle.signal("x", 1)
    await wait_until_async(lambda: again_timed(engine, handle.run_id))
    lab.pass_time(days=1)

    assert await handle.result(timeout=10) == [None, [None, 1]]


async def again_timed(engine: Engine, run_id: str) -> bool:
    view = await engine.get_run(run_id)
    return view.wait_reason == "timer" and view.holder is None
