"""A run's events are pushed to who follows it, from this process and from others."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.engine.lab import Lab
from tests.support.waiting import wait_until_async
from windlass import Engine, signal, step, workflow
from windlass.engine.types import Event
from windlass.engine.watching import KEPT_RENEWALS, Audience
from windlass.engine.worker import Worker


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
    await wait_until_async(lambda: handle.run_id not in engine.worker.audience)


async def no_look(_self: Worker) -> None:
    """Instead of the once-a-second look for what no doorbell told."""


async def test_other_processes_hear_them_by_doorbells_alone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worker, "_look_for_news", no_look)
    other = await lab.engine(worker=False)
    handle = await other.start_run(talk)
    found: list[str] = []

    async def follow() -> None:
        async for events in other.follow(handle.run_id):
            found.extend(event.type for event in events)

    follower = asyncio.ensure_future(follow())
    holder = await lab.engine()  # it comes later than the follower, and has to be told
    await wait_until_async(lambda: "step_completed" in found)
    await lab.stop(holder)
    third = await lab.engine(worker=False)
    await third.control(handle.run_id, "pause")  # nobody holds the run: who is asked writes
    await wait_until_async(lambda: "run_paused" in found)
    await third.control(handle.run_id, "resume")
    await third.signal(handle.run_id, "go")
    await lab.engine()
    await wait_until_async(lambda: "run_completed" in found)
    follower.cancel()
    await asyncio.wait([follower])
    assert found == [event.type for event in await third.events(handle.run_id)]


async def test_what_a_lost_doorbell_told_is_found_by_one_look_for_all(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Worker, "heard", lambda _self, _kind: None)
    other, _ = await lab.engine(worker=False), await lab.engine()
    runs = [(await other.start_run(talk)).run_id for _ in range(3)]
    followers = [asyncio.ensure_future(heard(other, run_id)) for run_id in runs]
    for run_id in runs:
        await other.signal(run_id, "go")

    assert [(await follower)[-1][1] for follower in followers] == ["run_completed"] * 3


async def test_who_follows_a_silent_run_reads_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = await engine.start_run(talk)
    asked: list[str] = []
    beats = 0
    async for events in engine.follow(handle.run_id):
        beats += not events
        if beats == 1 and not asked:
            reader = engine.backend.reader

            def written(_self: object, run_ids: Sequence[str]) -> dict[str, int]:
                asked.append("written")
                return {}

            def read(_self: object, run_id: str, since: int, limit: int) -> list[Event]:
                asked.append("events")
                return []

            monkeypatch.setattr(type(reader), "written", written)
            monkeypatch.setattr(type(reader), "events", read)
        if beats == 3:
            break

    assert set(asked) <= {"written"}, "a run that nobody holds is asked for along with all others"
    assert engine.worker.audience.wanted([handle.run_id, "other"]) == [handle.run_id]


async def test_what_others_follow_is_forgotten_when_they_say_so_no_more() -> None:
    told: list[str] = []
    audience = Audience(told.extend)

    assert [audience.ask("r"), audience.ask("r"), audience.wanted(["r", "s"])] == [True, False, ["r"]]
    for _ in range(KEPT_RENEWALS + 1):
        audience.renew()
    assert [audience.wanted(["r"]), audience.ask("r"), told] == [[], True, []]
