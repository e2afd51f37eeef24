"""Streams: each item has its place, whatever crashes; who reads on from an offset misses none and gets none twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.engine.lab import IN_MEMORY, Lab, event_types, parked, payloads
from windlass import (
    Engine,
    StepFailed,
    StreamClosed,
    StreamItem,
    UnknownRun,
    continue_as_new,
    gather,
    signal,
    step,
    stream,
    workflow,
)
from windlass.engine.heads import to_json
from windlass.engine.run import Run
from windlass.engine.scope import Scope
from windlass.engine.types import NewEvent
from windlass.kernel.checks import BadName, BadNumber
from windlass.kernel.stepping import RUNNING, StepInfo
from windlass.live import streams
from windlass.replay.api import Outcome, replay
from windlass.storage.memory.backend import MemoryBackend
from windlass.testing import Driver, PromiseBroken, crash_everywhere


def told(items: list[StreamItem]) -> list[tuple[int, object]]:
    return [(item.offset, item.value) for item in items]


async def read(items: AsyncIterator[StreamItem]) -> list[StreamItem]:
    return [item async for item in items]


@step(retries=1, backoff=0.01, jitter=0)
async def dictate(words: list[str]) -> int:
    """Write words as they come; fail the first time after the first."""
    out = stream("words")
    for number, word in enumerate(words):
        await out.write(word)
        if number == 0 and "stumble" in words and len(attempts) == 0:
            attempts.append(word)
            raise OSError("stumbled")
    return len(words)


attempts: list[str] = []


@step
def from_a_thread(words: list[str | None]) -> None:
    stream("log").push(len(words))
    stream("words").push(*words)


@workflow(name="streams.speak")
async def speak(count: int) -> int:
    """Write from the code, wait, write again, let steps write, and close."""
    out = stream("words")
    first = await out.write("begin", {"n": count})
    for number in range(count):
        await out.write(number)
    await stream("log").write("before")
    await signal("go")
    await dictate(["a", "stumble"])
    await from_a_thread(["t", None])
    await out.write("end")
    await out.close()
    await out.close()
    try:
        await out.write("too late")
    except StreamClosed:
        return first
    return -1


async def test_items_have_their_places_across_a_crash_and_a_reader_goes_on_from_where_he_was(lab: Lab) -> None:
    attempts.clear()
    first = await lab.engine()
    handle = await first.start_run(speak, 3)
    before: list[StreamItem] = []
    async for item in handle.read_stream("words"):
        before.append(item)
        if item.offset == 3:
            break
    assert told(before) == [(0, "begin"), (1, {"n": 3}), (2, 0), (3, 1)]
    await lab.crash(first)

    second = await lab.engine()
    elsewhere = await lab.engine(worker=False)
    await second.signal(handle.run_id, "go")
    rest = await read(elsewhere.handle(handle.run_id).read_stream("words", offset=4))

    expected = [2, "a", "a", "stumble", "t", None, "end"]
    assert told(rest) == list(enumerate(expected, start=4))
    assert [(item.step, item.attempt) for item in rest[1:6]] == [
        ("dictate#1", 1), ("dictate#1", 2), ("dictate#1", 2), ("from_a_thread#1", 1), ("from_a_thread#1", 1),
    ]  # fmt: skip
    assert rest[0].step is None
    assert await second.handle(handle.run_id).result(timeout=20) == 0
    whole = await read(elsewhere.handle(handle.run_id).read_stream("words"))
    assert whole == before + rest
    assert told(await read(second.handle(handle.run_id).read_stream("log"))) == [(0, "before"), (1, 2)]
    assert await read(second.handle(handle.run_id).read_stream("words", offset=99)) == []
    assert (await event_types(second, handle)).count("step_streamed") == 4
    inputs = to_json((await second.get_run(handle.run_id)).inputs)
    found = replay(speak, inputs, await second.events(handle.run_id))
    assert (found.outcome, found.strands) == (Outcome.ENDS, False), found


@workflow(name="streams.life")
async def life(turn: int) -> list[int]:
    """Write in branches, and begin anew: the places go on."""

    async def branch(number: int) -> int:
        return await stream("both").write(f"{turn}/{number}")

    places = await gather(branch(0), branch(1))
    if turn < 2:
        continue_as_new(turn + 1)
    await stream("both").close()
    return list(places)


async def test_a_run_that_begins_anew_goes_on_where_its_stream_was(engine: Engine) -> None:
    handle = await engine.start_run(life, 0)

    assert await handle.result(timeout=20) == [4, 5]
    items = await read(handle.read_stream("both"))
    assert [item.offset for item in items] == list(range(6))
    assert sorted(item.value for item in items) == [f"{turn}/{number}" for turn in range(3) for number in range(2)]


@workflow(name="streams.flood")
async def flood(count: int) -> int:
    """Write many items at once, and none to another stream."""
    for number in range(count):
        await stream("flood").write(number)
    return await dictate(["w"] * count)


async def test_many_small_writes_take_few_commits_and_end_with_the_run(engine: Engine, lab: Lab) -> None:
    handle = await engine.start_run(flood, 2000)
    reader = read(handle.read_stream("flood", offset=1995))
    steps = read(handle.read_stream("words"))

    assert await handle.result(timeout=60) == 2000
    assert [item.value for item in await reader] == [1995, 1996, 1997, 1998, 1999]
    assert [item.offset for item in await steps] == list(range(2000))
    commits = lab.processes[engine].writers[0].inner.batches  # type: ignore[union-attr]
    assert commits < 200
    page = await engine.live.items(handle.run_id, "flood", 1990, limit=5)
    assert ([item.offset for item in page.items], page.closed) == (list(range(1990, 1995)), False)
    assert len(await payloads(engine, handle, "step_streamed")) < 200


@IN_MEMORY
async def test_what_cannot_be_written_is_refused_where_it_is_called(engine: Engine) -> None:
    with pytest.raises(RuntimeError, match="inside a workflow only"):
        await stream("nowhere").write(1)
    with pytest.raises(RuntimeError, match="push is for steps"):
        stream("nowhere").push(1)
    elsewhere = RUNNING.set(StepInfo("a run of another process", "step#1", 1))
    with pytest.raises(RuntimeError, match="works in steps on this process's event loop and threads"):
        await stream("nowhere").write(1)
    RUNNING.reset(elsewhere)
    with pytest.raises(BadName):
        stream("no name")
    with pytest.raises(UnknownRun):
        await read(engine.handle("nobody").read_stream("words"))
    with pytest.raises(BadNumber):
        await engine.live.items("nobody", "words", -1)

    @step(transactional=True)
    def inside(tx: object) -> None:
        stream("words").push("x")

    @workflow(name="streams.refused", registry=engine.registry)
    async def refused() -> str:
        try:
            await inside()
        except StepFailed as error:
            return str(error)
        return ""

    assert "not in a transactional one" in await (await engine.start_run(refused)).result(timeout=20)


def test_it_survives_a_crash_at_every_commit_without_an_item_lost_or_doubled() -> None:
    seen: list[list[StreamItem]] = []

    async def drive(run: Driver) -> None:
        first = await run.items("words", 4)
        await run.signal("go")
        seen.append(first + await run.items("words", 2, offset=4))

    report = crash_everywhere(speak, 2, drive=drive, fresh=attempts.clear)

    assert sum(report.lives.values()) > 20
    for items in seen:
        assert [item.offset for item in items] == list(range(6))
        assert [item.value for item in items[:5]] == ["begin", {"n": 2}, 0, 1, "a"]
    assert len(seen) > 20


Plant = Callable[[pytest.MonkeyPatch], None]


def begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count from 0 again where a run goes on."""
    monkeypatch.setattr(streams, "_fresh", lambda _run: True)


def loses_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the event first, and the item in a commit of its own."""
    commit = Run.commit

    async def apart(self: Run, events: list[NewEvent], **more: Any) -> Any:
        along, self.along = self.along, []
        answer = await commit(self, events, **more)
        if along and not self.gone:
            self.along = along
            await commit(self, [])
        return answer

    monkeypatch.setattr(Run, "commit", apart)


def forgets_that_it_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the event of a write say nothing to a replay."""
    real = Scope.enter

    def enter(self: Scope[Any], name: str, kind: str) -> Any:
        path, recorded = real(self, name, kind)
        return (path, None) if kind == "stream" else (path, recorded)

    monkeypatch.setattr(Scope, "enter", enter)


@pytest.mark.parametrize("plant", [begins_anew, loses_rows, forgets_that_it_wrote])
def test_a_planted_mistake_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)

    with pytest.raises(PromiseBroken):
        crash_everywhere(speak, 2, signals=[("go", 1)], fresh=attempts.clear)


@workflow(name="streams.silent")
async def silent(count: int) -> int:
    """Tell nothing, and wait for nobody who asks."""
    for number in range(count):
        await plain(number)
    await signal("go")
    return count


@step
async def plain(number: int) -> int:
    return number


@IN_MEMORY
async def test_a_run_that_tells_nothing_makes_no_statement_for_it(engine: Engine) -> None:
    statements: set[str] = set()
    backend = engine.backend
    assert isinstance(backend, MemoryBackend)
    backend.store.raw.set_trace_callback(statements.add)  # the engine's own tables are no SQL here
    handle = await engine.start_run(silent, 5)
    await parked(handle)
    await handle.signal("go")

    assert await handle.result(timeout=20) == 5
    assert {statement.partition(" ")[0] for statement in statements} <= {"BEGIN", "COMMIT", "ROLLBACK"}
