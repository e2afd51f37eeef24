"""Pause and resume: no further step starts; what runs is finished and kept."""

import asyncio

import pytest

from tests.engine.lab import Lab, event_types, parked, status_of
from tests.support.waiting import wait_until_async
from windlass import Engine, Handle, RunConflict, UnknownRun, gather, signal, sleep, step, workflow


class Door:
    """A step that waits to be let through, and steps that only note that they ran."""

    def __init__(self) -> None:
        self.inside = asyncio.Event()
        self.open = asyncio.Event()
        self.executed: list[str] = []


door = Door()


@pytest.fixture(autouse=True)
def _closed_door() -> None:
    door.__init__()  # type: ignore[misc]


@step
async def enter(name: str) -> str:
    door.inside.set()
    await door.open.wait()
    door.executed.append(name)
    return name


@step
async def note(name: str) -> str:
    door.executed.append(name)
    return name


async def told(engine: Engine, handle: Handle) -> None:
    """Wait until the holder of a run knows that it is to pause."""
    await wait_until_async(lambda: engine.worker.runs[handle.run_id].pausing is not None)


@workflow
async def visit() -> str:
    return await enter("in") + await note("out")


async def test_the_running_step_is_finished_and_kept_and_no_other_starts(engine: Engine) -> None:
    handle = await engine.start_run(visit)
    await door.inside.wait()
    assert (await handle.pause()).result == "sent"
    await told(engine, handle)
    door.open.set()

    view = await status_of(handle, "paused")
    assert (view.status_reason, view.wait_reason, view.holder) == ("paused_by_user", "paused", None)
    assert door.executed == ["in"]
    assert (await event_types(engine, handle))[-2:] == ["step_completed", "run_paused"]
    await wait_until_async(lambda: not engine.worker.runs, what="the run to have left memory")

    assert (await handle.resume()).result == "applied"
    assert await handle.result(timeout=10) == "inout"
    assert door.executed == ["in", "out"]
    assert "run_resumed" in await event_types(engine, handle)


async def test_the_reason_is_kept(engine: Engine) -> None:
    @workflow
    async def waits() -> object:
        return await signal("x")

    handle = await engine.start_run(waits)
    await parked(handle)
    await engine.control(handle.run_id, "pause", by="ada", reason="budget spent")

    assert (await handle.status()).status_reason == "budget spent"


async def test_a_run_that_has_not_begun_can_be_paused(lab: Lab) -> None:
    watching = await lab.engine(worker=False)
    handle = await watching.start_run(visit)
    assert (await handle.pause()).result == "applied"
    working = await lab.engine()
    later = await working.start_run(visit)
    door.open.set()
    await later.result(timeout=10)
    assert (await handle.status()).status == "paused"
    assert door.executed == ["in", "out"]

    await handle.resume()

    assert await handle.result(timeout=10) == "inout"


async def test_a_paused_run_stays_so_over_a_crash(lab: Lab) -> None:
    first = await lab.engine()
    handle = await first.start_run(visit)
    await door.inside.wait()
    await handle.pause()
    await told(first, handle)
    await lab.crash(first)
    second = await lab.engine()
    again = second.handle(handle.run_id)
    await status_of(again, "paused")
    assert door.executed == []

    door.open.set()
    await again.resume()

    assert await again.result(timeout=10) == "inout"
    assert door.executed == ["in", "out"]


async def test_a_sleeping_run_sleeps_through_its_pause(engine: Engine, lab: Lab) -> None:
    @workflow
    async def nap() -> str:
        await sleep(days=1)
        return await note("awake")

    handle = await engine.start_run(nap)
    await parked(handle)
    await handle.pause()
    lab.pass_time(days=2)
    other = await engine.start_run(visit)
    door.open.set()
    await other.result(timeout=10)
    assert (await handle.status()).status == "paused"

    await handle.resume()

    assert await handle.result(timeout=10) == "awake"


async def test_a_sleep_does_not_end_early_because_of_a_pause(engine: Engine, lab: Lab) -> None:
    @workflow
    async def nap() -> str:
        await sleep(days=2)
        return "awake"

    handle = await engine.start_run(nap)
    wake_at = (await parked(handle)).wake_at
    await handle.pause()
    lab.pass_time(days=1)
    await handle.resume()

    async def asleep_again() -> bool:
        view = await handle.status()
        return view.holder is None and view.wait_reason == "timer"

    await wait_until_async(asleep_again)
    assert (await handle.status()).wake_at == wake_at
    lab.pass_time(days=1)
    assert await handle.result(timeout=10) == "awake"


async def test_branches_pause_together(engine: Engine) -> None:
    @workflow
    async def both() -> list[str]:
        async def pair(name: str) -> str:
            return await enter(f"{name}1") + await note(f"{name}2")

        return await gather(pair("a"), pair("b"))

    handle = await engine.start_run(both)
    await door.inside.wait()
    await handle.pause()
    await told(engine, handle)
    door.open.set()
    await status_of(handle, "paused")
    assert sorted(door.executed) == ["a1", "b1"]

    await handle.resume()

    assert await handle.result(timeout=10) == ["a1a2", "b1b2"]
    assert sorted(door.executed) == ["a1", "a2", "b1", "b2"]


async def test_pausing_and_resuming_twice_changes_nothing(engine: Engine) -> None:
    @workflow
    async def waits() -> object:
        return await signal("x")

    handle = await engine.start_run(waits)
    await parked(handle)

    assert (await handle.pause()).result == "applied"
    assert (await handle.pause()).result == "already_applied"
    assert (await handle.resume()).result == "applied"
    assert (await handle.resume()).result in {"already_applied", "applied"}
    await handle.signal("x", 1)
    assert await handle.result(timeout=10) == 1


async def test_a_run_can_be_paused_again_and_again(engine: Engine) -> None:
    @workflow
    async def steps() -> list[str]:
        return [await enter(str(number)) for number in range(3)]

    handle = await engine.start_run(steps)
    for number in range(2):
        await door.inside.wait()
        await handle.pause()
        await told(engine, handle)
        door.open.set()
        await status_of(handle, "paused")
        assert door.executed == [str(done) for done in range(number + 1)]
        door.inside.clear()
        door.open.clear()
        await handle.resume()
    door.open.set()

    assert await handle.result(timeout=10) == ["0", "1", "2"]


async def test_who_has_ended_is_not_paused(engine: Engine) -> None:
    door.open.set()
    handle = await engine.start_run(visit)
    await handle.result(timeout=10)

    for action in (handle.pause, handle.resume):
        with pytest.raises(RunConflict, match="run is succeeded"):
            await action()
    with pytest.raises(UnknownRun):
        await engine.handle("nobody").pause()
    assert (await handle.status()).outputs == "inout"
