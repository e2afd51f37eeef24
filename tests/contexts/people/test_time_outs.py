"""However long it takes: time-outs, waits of a month, restarts."""

import asyncio

import pytest

from tests.contexts.people.asked import ANN, Office, asked, start, steps, waits_for_ann
from tests.engine.lab import payloads
from tests.support.waiting import wait_until_async
from windlass import Engine, gather, signal, workflow
from windlass.contexts.people.api import Task, wait_for_decision
from windlass.kernel.errors import Conflict


async def test_nobody_comes_in_time(office: Office, engine: Engine) -> None:
    handle = await asked(await start(engine, timeout=3600))
    office.lab.pass_time(hours=1)

    assert await handle.result(timeout=10) == ["timed_out", None, {}, []]
    assert await payloads(engine, handle, "human_timeout") == [{"step_id": "review"}]
    with pytest.raises(Conflict, match="timed out already"):
        await office.people[engine].decide(ANN, handle.run_id, "review", "approve")
    assert (await office.people[engine].inbox(ANN)).items == []


async def test_a_decision_and_the_time_out_agree_on_who_was_first(office: Office, engine: Engine) -> None:
    people = office.people[engine]
    handles = [await start(engine, timeout=3600) for _ in range(20)]
    for handle in handles:
        await asked(handle)
    office.lab.pass_time(hours=1)

    calls = (people.decide(ANN, handle.run_id, "review", "approve") for handle in handles)
    answers = await asyncio.gather(*calls, return_exceptions=True)

    for handle, answer in zip(handles, answers, strict=True):
        won = "approved" if isinstance(answer, Task) else "timed_out"
        assert isinstance(answer, Task | Conflict)
        assert (await handle.result(timeout=10))[0] == won
        [(task, _)] = await people.of_run(handle.run_id)
        assert task.status == won


async def test_a_decision_after_the_time_but_before_anybody_noticed_counts(office: Office) -> None:
    first = await office.open()
    handle = await asked(await start(first, timeout=3600))
    await office.lab.stop(first)
    office.lab.clock.move(hours=2)
    desk = await office.open(worker=False)
    await office.people[desk].decide(ANN, handle.run_id, "review", "approve")
    second = await office.open()

    assert (await second.result(handle.run_id, timeout=10))[0] == "approved"


async def test_a_month_and_two_restarts_later(office: Office) -> None:
    first = await office.open()
    handle = await asked(await start(first, timeout=90 * 86400))
    await office.lab.crash(first)
    office.lab.clock.move(days=30)
    desk = await office.open(worker=False)
    assert steps(await office.people[desk].inbox(ANN)) == ["review"]
    await office.people[desk].decide(ANN, handle.run_id, "review", "approve", "sorry, was away")
    await office.lab.stop(desk)
    third = await office.open()

    assert await third.result(handle.run_id, timeout=10) == ["approved", "sorry, was away", {}, ["ann"]]


async def test_who_asks_may_be_answered_before_the_run_has_left_memory(
    office: Office, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    @workflow
    async def busy() -> list[object]:
        return await gather(wait_for_decision(step_id="review", assigned_to="ann"), signal("news"))

    monkeypatch.setattr("windlass.engine.run.LINGER", 3600)
    people = office.people[engine]
    handle = await engine.start_run(busy, owner="olga")
    await wait_until_async(lambda: waits_for_ann(office, engine))
    assert handle.run_id in engine.worker.runs

    await people.decide(ANN, handle.run_id, "review", "approve")
    await handle.signal("news")

    await handle.result(timeout=10)
