"""A run's events are pushed to who follows it, from this process and from others."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import orjson
import pytest

from tests.engine.lab import Lab
from tests.support.waiting import wait_until_async
from windlass import Engine, signal, step, workflow
from windlass.engine.types import Event
from windlass.engine.watching import KEPT_RENEWALS, Audience
from windlass.engine.worker import Worker
from windlass.kernel.feed import News


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
    await wait_until_async(lambda: handle.run_id not in engine.worker.audience.here)


def plain(event: Event) -> tuple[int, str, str | None, Any, int]:
    """An event without the way its payload is written."""
    return event.seq, event.type, event.step_id, orjson.loads(event.payload), event.at


class Reads:
    """What a process reads of events from now on, and how it is kept from it."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[dict[str, int]] = []
        self.open = asyncio.Event()
        self.open.set()
        audience, read = engine.worker.audience, engine.worker.audience._read

        async def noted(since: Mapping[str, int]) -> Sequence[Event]:
            self.asked.append(dict(since))
            await self.open.wait()
            return await read(since)

        monkeypatch.setattr(audience, "_read", noted)


async def test_who_follows_what_is_written_here_reads_only_what_was_there_before(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Reads(engine, monkeypatch)
    handle = await engine.start_run(talk)
    heard_by: list[list[News[Event]]] = [[], [], []]
    made: list[int] = []

    def make(event: Event) -> str:
        made.append(event.seq)
        return event.type

    async def follow(news: list[News[Event]]) -> None:
        async for found in engine.follow(handle.run_id):
            news.append(found)
            if "run_completed" in found.each(make):
                return

    followers = [asyncio.ensure_future(follow(news)) for news in heard_by]
    await wait_until_async(lambda: all(any(not found for found in news) for news in heard_by))
    known = len(made)
    reads.open.clear()  # whoever reads now never hears anything
    await engine.signal(handle.run_id, "go")
    await asyncio.gather(*followers)

    reads.open.set()

    stored = [plain(event) for event in await engine.events(handle.run_id)]
    assert [[plain(event) for found in news for event in found] for news in heard_by] == [stored] * 3
    assert made[known:] == [event[0] for event in stored[-len(made[known:]) :]], "each is put into words once for all"


async def test_a_slow_follower_reads_what_is_kept_no_more_and_misses_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windlass.kernel.feed.KEPT_BYTES", 700)
    monkeypatch.setattr("windlass.kernel.feed.PAGE", 2)
    monkeypatch.setattr("windlass.engine.worker.PAGE", 2)
    handle = await engine.start_run(talk)
    slow = engine.follow(handle.run_id)
    seen = [event.seq async for found in _until_silent(slow) for event in found]
    await engine.signal(handle.run_id, "go")
    assert await heard(engine, handle.run_id)
    feed = engine.worker.audience.here[handle.run_id]
    assert feed._weight <= 700, "what waits for the slow is bounded"

    async for found in slow:
        seen += [event.seq for event in found]
        if any(event.type == "run_completed" for event in found):
            break

    assert seen == [event.seq for event in await engine.events(handle.run_id)]


async def _until_silent(news: AsyncIterator[News[Event]]) -> AsyncIterator[News[Event]]:
    async for found in news:
        if not found:
            return
        yield found


async def test_what_others_wrote_is_read_once_for_all_who_follow(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    other, _ = await lab.engine(worker=False), await lab.engine()
    handle = await other.start_run(talk)
    reads = Reads(other, monkeypatch)
    followers = [asyncio.ensure_future(heard(other, handle.run_id)) for _ in range(20)]
    feeds = other.worker.audience.here
    await wait_until_async(
        lambda: handle.run_id in feeds and sum(not one.behind for one in feeds[handle.run_id].followers) == 20
    )
    reads.open.clear()
    del reads.asked[:]
    await other.signal(handle.run_id, "go")
    await handle.result()
    await wait_until_async(lambda: reads.asked)
    assert len(reads.asked) == 1
    reads.open.set()

    stored = await other.events(handle.run_id)
    assert [await follower for follower in followers] == [[(event.seq, event.type) for event in stored]] * 20


async def test_other_processes_hear_them_by_doorbells_alone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Audience, "look_elsewhere", lambda _self, _held: None)
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
    monkeypatch.setattr("windlass.kernel.feed.BEAT_SECONDS", 0.1)
    runs = {(await engine.start_run(talk)).run_id for _ in range(2)}
    streams = [engine.follow(run_id) for run_id in runs]
    for stream in streams:
        assert [found async for found in _until_silent(stream)]
    await wait_until_async(lambda: not runs & set(engine.worker.runs))
    reads = Reads(engine, monkeypatch)
    await wait_until_async(lambda: len(reads.asked) > 1)

    for stream in streams * 5:
        assert not await anext(stream)

    assert all(set(one) == runs for one in reads.asked), "runs that nobody holds are asked for all at once"


async def test_what_others_follow_is_forgotten_when_they_say_so_no_more() -> None:
    told: list[str] = []

    async def read(_since: Mapping[str, int]) -> list[Event]:
        return []

    audience = Audience(told.extend, read, lambda _work: None)
    written = [Event(run_id, 1, "run_started", None, "{}", 0) for run_id in ("r", "s")]

    assert [audience.ask("r"), audience.ask("r"), audience.hear(written)] == [True, False, {"r"}]
    for _ in range(KEPT_RENEWALS + 1):
        audience.renew()
    assert [audience.hear(written), audience.ask("r"), told] == [set(), True, []]
