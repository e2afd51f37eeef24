"""A run's events are pushed to who follows it, from this process and from others."""

import asyncio

from tests.engine.lab import Lab
from windlass import Engine, signal, step, workflow


@step
async def note(name: str) -> str:
    return name


@workflow(name="following.talk")
async def talk() -> str:
    await note("a")
    await signal("go")
    return await note("b")


async def heard(engine: Engine, run_id: str, since: int = 0) -> list[tuple[int, str]]:
    """Everything up to the end of the run."""
    found: list[tuple[int, str]] = []
    async for events in engine.follow(run_id, since):
        found += [(event.seq, event.type) for event in events]
        if found and found[-1][1] == "run_completed":
            return found
    raise AssertionError("it goes on until it is left")


async def test_events_come_as_they_are_written_each_once(engine: Engine) -> None:
    handle = await engine.start_run(talk)
    follower = asyncio.ensure_future(heard(engine, handle.run_id))
    late = asyncio.ensure_future(heard(engine, handle.run_id, 3))
    await engine.signal(handle.run_id, "go")

    found = await follower

    assert [seq for seq, _ in found] == list(range(1, len(found) + 1))
    assert await late == found[3:]
    assert handle.run_id not in engine.worker.audience


async def test_another_process_hears_them_too(lab: Lab) -> None:
    holder, other = await lab.engine(), await lab.engine(worker=False)
    handle = await holder.start_run(talk)
    follower = asyncio.ensure_future(heard(other, handle.run_id))
    await other.signal(handle.run_id, "go")

    assert (await follower)[-1][1] == "run_completed"
