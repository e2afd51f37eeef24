"""A run that begins anew: the same run, with other arguments and nothing behind it that a replay reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.engine.lab import Lab, event_types, parked, payloads
from tests.support.waiting import wait_until_async
from windlass import (
    Engine,
    Registry,
    RunCancelled,
    RunFailed,
    checkpoint,
    continue_as_new,
    gather,
    signal,
    sleep,
    step,
    workflow,
)
from windlass.replay.api import Outcome, replay
from windlass.testing import crash_everywhere

executed: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    executed.clear()


@step
async def note(text: str) -> str:
    executed.append(text)
    return text


@workflow(name="continuing.count")
async def count(done: int, most: int) -> dict[str, int]:
    """Do one thing, and begin anew with the next."""
    await note(f"turn {done}")
    if done < most:
        continue_as_new(done + 1, most=most)
    return {"done": done}


async def test_it_goes_on_as_the_same_run_with_other_arguments(engine: Engine, lab: Lab) -> None:
    handle = await engine.start_run(count, 1, most=4)

    assert await handle.result(timeout=20) == {"done": 4}
    assert executed == ["turn 1", "turn 2", "turn 3", "turn 4"]
    begun = [payload["inputs"] for payload in await payloads(engine, handle, "run_continued")]
    assert begun == [{"done": done, "most": 4} for done in (2, 3, 4)]
    view = await handle.status()
    assert (view.inputs, view.outputs, view.history_from_seq) == ({"done": 1, "most": 4}, {"done": 4}, 1)
    kinds = await event_types(engine, handle)
    assert (kinds.count("run_started"), kinds.count("run_completed")) == (1, 1)


@workflow(name="continuing.listen")
async def listen(heard: list[str]) -> list[str]:
    """Hear words, one a life; die in between."""
    word = await signal("word")
    await note(word)
    if word != "end":
        continue_as_new([*heard, word])
    return [*heard, word]


async def test_what_was_sent_meanwhile_is_not_lost_and_a_crash_goes_on_from_there(lab: Lab) -> None:
    first = await lab.engine()
    handle = await first.start_run(listen, [])
    for word in ("a", "b", "c"):
        await first.signal(handle.run_id, "word", word)

    async def waits() -> bool:
        return executed == ["a", "b", "c"] and (await handle.status()).wait_reason == "signal:word"

    await wait_until_async(waits, what="a wait for the fourth word")
    await lab.crash(first)
    second = await lab.engine()

    await second.signal(handle.run_id, "word", "end")

    assert await second.handle(handle.run_id).result(timeout=20) == ["a", "b", "c", "end"]
    assert executed == ["a", "b", "c", "end"]
    events = await second.events(handle.run_id)
    replayed = replay(listen, '{"heard":[]}', events, outputs='["a","b","c","end"]')
    assert replayed.outcome is Outcome.ENDS


@workflow(name="continuing.rounds")
async def rounds(turn: int, most: int) -> int:
    """A loop without an end of its own, whose history is bounded all the same."""
    while turn < most:
        await note(f"turn {turn}")
        turn += 1
        checkpoint(turn, most, every=10)
    return turn


async def test_a_loop_with_checkpoints_reads_no_more_than_its_last_turns(engine: Engine, lab: Lab) -> None:
    handle = await engine.start_run(rounds, 0, 45)

    assert await handle.result(timeout=20) == 45
    assert executed == [f"turn {turn}" for turn in range(45)]
    begun = [payload["inputs"]["turn"] for payload in await payloads(engine, handle, "run_continued")]
    assert begun == [10, 20, 30, 40]
    read = await engine.transact(lambda tx: tx.load_events([handle.run_id])[handle.run_id])
    assert (read[0].type, read[-1].type) == ("run_continued", "run_completed")
    assert len(read) < 20


def test_it_survives_a_crash_at_every_commit() -> None:
    effects: Callable[[], list[object]] = lambda: [*executed]  # noqa: E731  one line for what was done
    for workflow_, given in ((rounds, (0, 25)), (count, (1, 3))):
        report = crash_everywhere(workflow_, *given, effects=effects, fresh=executed.clear)
        assert sum(report.lives.values()) > 20


@pytest.mark.parametrize("branches", [False, True])
async def test_how_often_it_begins_anew_may_be_changed_under_an_open_run(lab: Lab, branches: bool) -> None:
    async def call(what: Awaitable[Any]) -> None:
        await (gather(what) if branches else what)

    def code(every: int) -> Registry:
        registry = Registry()

        @workflow(name="continuing.paced", registry=registry)
        async def paced(turn: int) -> int:
            while turn < 12:
                await call(note(f"turn {turn}"))
                turn += 1
                if turn == 8:
                    await call(signal("go"))
                checkpoint(turn, every=every)
            return turn

        return registry

    first = await lab.engine(registry=code(100))
    handle = await first.start_run("continuing.paced", turn=0)
    await parked(handle)
    await lab.crash(first)
    second = await lab.engine(registry=code(3))
    await second.signal(handle.run_id, "go")

    assert await second.handle(handle.run_id).result(timeout=20) == 12
    assert executed == [f"turn {turn}" for turn in range(12)]
    begun = [payload["inputs"]["turn"] for payload in await payloads(second, handle, "run_continued")]
    assert begun == [8, 11]


async def test_it_is_cancelled_retried_and_waited_for_as_others_are(engine: Engine, lab: Lab) -> None:
    broken = {"yes"}

    @step
    async def fragile() -> None:
        if broken:
            raise OSError("broken")

    @workflow(name="continuing.child")
    async def child(life: int) -> int:
        if life == 1:
            continue_as_new(2)
        await fragile()
        return life

    @workflow(name="continuing.parent")
    async def parent() -> int:
        value: int = await child(1)
        return value

    handle = await engine.start_run(parent)
    with pytest.raises(RunFailed, match="broken"):
        await handle.result(timeout=20)
    broken.clear()
    await handle.retry()
    assert await handle.result(timeout=20) == 2

    @workflow(name="continuing.sleeper")
    async def sleeper(life: int) -> None:
        if life == 1:
            continue_as_new(2)
        await sleep(days=1)

    asleep = await engine.start_run(sleeper, 1)
    await parked(asleep)
    await asleep.cancel()
    with pytest.raises(RunCancelled):
        await asleep.result(timeout=20)


async def test_where_it_would_lose_something_it_is_refused(engine: Engine) -> None:
    @workflow(name="continuing.branches")
    async def branches() -> None:
        async def one() -> None:
            continue_as_new()

        await gather(one())

    @step
    def undo(result: Any) -> None: ...

    @step(compensate=undo)
    async def book() -> str:
        return "booked"

    @workflow(name="continuing.saga")
    async def saga() -> None:
        await book()
        continue_as_new()

    @workflow(name="continuing.strange")
    async def strange() -> None:
        continue_as_new(object())

    for code, said in (
        (branches, "not for one of its branches"),
        (saga, "would forget how steps are undone"),
        (strange, "strange"),
    ):
        with pytest.raises(RunFailed, match=said):
            await (await engine.start_run(code)).result(timeout=20)
    with pytest.raises(RuntimeError):
        continue_as_new()
    with pytest.raises(ValueError, match="every must be at least 1"):
        checkpoint(every=0)
