"""Replay: after a restart the code runs again, and everything it has heard before it hears the same."""

import asyncio
from datetime import datetime
from functools import partial
from uuid import UUID

import pytest

from tests.engine.lab import Lab, event_types, parked
from tests.support.waiting import wait_until_async
from windlass import (
    Engine,
    RunFailed,
    SignalTimeout,
    StepFailed,
    gather,
    map,  # noqa: A004
    now,
    random,
    signal,
    sleep,
    step,
    uuid,
    workflow,
)


class Gate:
    """Steps that wait here until a test lets them through, each call of them counted."""

    def __init__(self) -> None:
        self.executed: list[str] = []
        self._doors: dict[str, asyncio.Event] = {}

    def door(self, name: str) -> asyncio.Event:
        return self._doors.setdefault(name, asyncio.Event())

    async def passed(self, name: str) -> None:
        await wait_until_async(lambda: name in self.executed, what=f"{name} executed")

    async def go(self, name: str) -> str:
        await self.door(name).wait()
        self.executed.append(name)
        return f"{name} {self.executed.count(name)}"


@pytest.fixture
def gate() -> Gate:
    return Gate()


async def test_after_a_crash_the_run_goes_on_with_the_step_it_was_at(lab: Lab, gate: Gate) -> None:
    @step
    async def go(name: str) -> str:
        return await gate.go(name)

    @workflow
    async def chain() -> list[str]:
        return [await go(name) for name in "abcd"]

    first = await lab.engine()
    gate.door("a").set()
    gate.door("b").set()
    handle = await first.start_run(chain)
    await gate.passed("b")
    await wait_until_async(lambda: completed(first, handle.run_id, 2))
    await lab.crash(first)
    gate.door("c").set()
    gate.door("d").set()
    second = await lab.engine()

    assert await second.handle(handle.run_id).result(timeout=10) == ["a 1", "b 1", "c 1", "d 1"]
    assert gate.executed == ["a", "b", "c", "d"]
    assert "run_requeued" in await event_types(second, handle)


async def completed(engine: Engine, run_id: str, steps: int) -> bool:
    return [event.type for event in await engine.events(run_id)].count("step_completed") == steps


async def test_a_step_cut_off_by_the_crash_runs_again_with_the_same_key(lab: Lab, gate: Gate) -> None:
    keys: list[str] = []

    @step
    async def cut_off() -> str:
        from windlass import step_info

        keys.append(step_info().idempotency_key)
        if len(keys) == 1:
            await asyncio.Event().wait()
        return "done"

    @workflow
    async def unlucky() -> str:
        return await cut_off()

    first = await lab.engine()
    handle = await first.start_run(unlucky)
    await wait_until_async(lambda: len(keys) == 1)
    await lab.crash(first)
    second = await lab.engine()

    assert await second.handle(handle.run_id).result(timeout=10) == "done"
    assert keys == [f"{handle.run_id}:cut_off#1"] * 2


async def test_time_dice_and_ids_are_the_same_again(lab: Lab) -> None:
    seen: list[tuple[datetime, float, UUID]] = []

    @workflow
    async def gambler() -> bool:
        seen.append((now(), random(), uuid()))
        await sleep(days=1)
        seen.append((now(), random(), uuid()))
        await sleep(days=1)
        return now() > seen[0][0]

    first = await lab.engine()
    handle = await first.start_run(gambler)
    await parked(handle)
    await lab.crash(first)
    lab.clock.move(days=1)
    second = await lab.engine()
    await wait_until_async(lambda: len(seen) == 3)
    await parked(second.handle(handle.run_id))
    lab.pass_time(days=1)
    assert await second.handle(handle.run_id).result(timeout=10) is True

    assert len(seen) == 5
    assert seen[0] == seen[1] == seen[3]
    assert seen[2] == seen[4]
    assert seen[0] != seen[2]
    assert seen[0][0].tzinfo is not None
    assert 0 <= seen[0][1] < 1
    assert seen[0][2].version == 4


async def test_branches_that_end_in_another_order_get_their_own_results(lab: Lab, gate: Gate) -> None:
    @step
    async def go(name: str) -> str:
        return await gate.go(name)

    @workflow
    async def branches() -> list[list[str]]:
        async def pair(name: str) -> list[str]:
            return [await go(f"{name}1"), await go(f"{name}2")]

        return await map(pair, "abc")

    first = await lab.engine()
    handle = await first.start_run(branches)
    for name in ("c1", "a1", "c2", "b1"):
        gate.door(name).set()
        await gate.passed(name)
    await wait_until_async(lambda: completed(first, handle.run_id, 4))
    await lab.crash(first)
    second = await lab.engine()
    for name in ("b2", "a2"):
        gate.door(name).set()
        await gate.passed(name)

    results = await second.handle(handle.run_id).result(timeout=10)
    assert results == [["a1 1", "a2 1"], ["b1 1", "b2 1"], ["c1 1", "c2 1"]]
    assert gate.executed == ["c1", "a1", "c2", "b1", "b2", "a2"]


async def test_a_caught_failure_is_the_same_again(lab: Lab) -> None:
    heard: list[str] = []

    @step
    async def broken() -> None:
        raise OSError("disk")

    @workflow
    async def careful() -> str:
        try:
            await broken()
        except StepFailed as error:
            heard.append(f"{error} {error.data}")
        await sleep(days=1)
        return "done"

    first = await lab.engine()
    handle = await first.start_run(careful)
    await parked(handle)
    await lab.crash(first)
    lab.clock.move(days=1)
    second = await lab.engine()

    assert await second.handle(handle.run_id).result(timeout=10) == "done"
    assert heard[0] == heard[1]
    assert len(heard) == 2


async def test_who_failed_first_stays_first(lab: Lab, gate: Gate) -> None:
    heard: list[str] = []

    @step
    async def fails(name: str) -> None:
        raise OSError(await gate.go(name))

    @workflow
    async def quarrel() -> str:
        try:
            await gather(fails("a"), fails("b"))
        except StepFailed as error:
            heard.append(error.message)
        await sleep(days=1)
        return "done"

    first = await lab.engine()
    handle = await first.start_run(quarrel)
    await wait_until_async(lambda: len(first.worker.runs) == 1)
    gate.door("b").set()
    gate.door("a").set()
    await parked(handle)
    await lab.crash(first)
    lab.clock.move(days=1)
    second = await lab.engine()

    assert await second.handle(handle.run_id).result(timeout=10) == "done"
    assert len(heard) == 2
    assert heard[0] == heard[1]


async def test_who_raised_first_in_plain_code_stays_first(lab: Lab, gate: Gate) -> None:
    heard: list[str] = []

    @step
    async def go(name: str) -> str:
        return await gate.go(name)

    @workflow
    async def quarrel() -> str:
        async def branch(name: str) -> None:
            raise OSError(await go(name))

        try:
            await gather(branch("a"), branch("b"))
        except OSError as error:
            heard.append(str(error))
        await sleep(days=1)
        return "done"

    first = await lab.engine()
    handle = await first.start_run(quarrel)
    gate.door("b").set()
    await gate.passed("b")
    gate.door("a").set()
    await parked(handle)
    await lab.crash(first)
    lab.clock.move(days=1)
    second = await lab.engine()

    assert await second.handle(handle.run_id).result(timeout=10) == "done"
    assert heard == ["b 1", "b 1"]


async def test_a_branch_stopped_by_a_failure_does_not_run_on_in_a_replay(lab: Lab, gate: Gate) -> None:
    started: list[str] = []

    @step
    async def go(name: str) -> str:
        started.append(name)
        if name == "b":
            await wait_until_async(lambda: "a2" in started)
        return await gate.go(name)

    @workflow
    async def quarrel() -> str:
        async def fails() -> None:
            await go("b")
            raise OSError("b")

        async def works() -> None:
            await go("a1")
            await go("a2")
            await go("a3")

        try:
            await gather(works(), fails())
        except OSError:
            await sleep(days=1)
        return "done"

    first = await lab.engine()
    handle = await first.start_run(quarrel)
    gate.door("a1").set()
    await gate.passed("a1")
    await wait_until_async(lambda: "a2" in started)
    gate.door("b").set()
    await parked(handle)
    await lab.crash(first)
    lab.clock.move(days=1)
    second = await lab.engine()

    assert await second.handle(handle.run_id).result(timeout=10) == "done"
    assert gate.executed == ["a1", "b"]
    assert started == ["a1", "a2", "b"]


async def test_signals_time_outs_and_children_are_the_same_again(lab: Lab) -> None:
    executed: list[str] = []

    @step
    async def note(text: str) -> str:
        executed.append(text)
        return text

    @workflow
    async def child(number: int) -> str:
        if number < 0:
            raise ValueError("negative")
        return await note(f"child {number}")

    @workflow
    async def everything() -> list[object]:
        heard: list[object] = [await signal("a")]
        try:
            await signal("b", timeout=0.001)
        except SignalTimeout as error:
            heard.append(error.code)
        heard.append(await child(1))
        try:
            await child(-1)
        except RunFailed as error:
            heard.append(error.data["error"])
        executed.append(repr(heard))
        heard.append(await signal("c"))
        return heard

    first = await lab.engine()
    handle = await first.start_run(everything)
    await handle.signal("a", [1])
    view = await parked_at(first, handle.run_id, "signal:c")
    assert view
    await lab.crash(first)
    second = await lab.engine()
    again = second.handle(handle.run_id)
    await again.signal("b", "too late")
    await again.signal("c", "end")

    heard = await again.result(timeout=10)
    error = {"type": "ValueError", "message": "negative", "failed_steps": []}
    assert heard == [[1], "SIGNAL_TIMEOUT", "child 1", error, "end"]
    assert executed[0] == "child 1"
    assert executed[1] == executed[2]
    assert len(executed) == 3


async def parked_at(engine: Engine, run_id: str, reason: str) -> bool:
    async def there() -> bool:
        view = await engine.get_run(run_id)
        return view.wait_reason == reason and view.holder is None

    return await wait_until_async(there)


@pytest.mark.parametrize("crashes", [3])
async def test_a_long_run_survives_one_crash_after_another(lab: Lab, crashes: int) -> None:
    executed: list[int] = []

    @step
    async def count(number: int) -> int:
        executed.append(number)
        return number

    @workflow
    async def long() -> int:
        total = 0
        for number in range(10):
            total += await count(number)
            if number % 3 == 2:
                await sleep(days=1)
        return total

    engine = await lab.engine()
    handle = await engine.start_run(long)
    for day in range(crashes):
        await wait_until_async(partial(lambda day: executed == list(range(3 * day + 3)), day))
        await parked(engine.handle(handle.run_id))
        await lab.crash(engine)
        lab.clock.move(days=1)
        engine = await lab.engine()

    assert await engine.handle(handle.run_id).result(timeout=10) == 45
    assert executed == list(range(10))
