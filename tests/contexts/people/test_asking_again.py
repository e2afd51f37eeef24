"""Runs that stop, fail and are retried: whom they ask then, and whom no more."""

from typing import Any

import pytest

from tests.contexts.people.asked import ADMIN, ANN, Office, asked, start, steps, tell, waits_for_ann
from tests.engine.lab import status_of
from tests.support.waiting import wait_until_async
from windlass import Engine, StepFailed, gather, signal, sleep, step, workflow
from windlass.contexts.people.api import wait_for_decision
from windlass.contexts.workflows.runs.compound import compound
from windlass.kernel.errors import Conflict


async def test_a_cancelled_run_asks_nobody(office: Office, engine: Engine) -> None:
    people = office.people[engine]
    handle, other = await asked(await start(engine)), await asked(await start(engine))
    await handle.cancel()
    assert [task.run_id for task in (await people.inbox(ANN)).items] == [other.run_id]
    assert [task.run_id for task in (await people.inbox(ADMIN, everybody=True)).items] == [other.run_id]
    with pytest.raises(Conflict, match="run is cancelled"):
        await people.decide(ANN, handle.run_id, "review", "approve")

    assert await people.tidy() == 1
    assert await people.tidy() == 0

    with pytest.raises(Conflict, match="cancelled already"):
        await people.decide(ANN, handle.run_id, "review", "approve")
    await people.decide(ANN, other.run_id, "review", "approve")
    await other.result(timeout=10)


async def test_a_paused_run_hears_of_it_once_it_is_resumed(office: Office, engine: Engine) -> None:
    handle = await asked(await start(engine))
    await handle.pause()
    await office.people[engine].decide(ANN, handle.run_id, "review", "approve")
    assert (await handle.status()).status == "paused"
    await handle.resume()

    assert (await handle.result(timeout=10))[0] == "approved"


REPAIRED: set[str] = set()


@step
async def fragile(label: str) -> None:
    """Fail until it is repaired."""
    if label not in REPAIRED:
        raise ValueError(label)


@workflow(name="people.beside")
async def beside(label: str, caught: bool) -> list[Any]:
    """Ask beside something that fails."""

    async def fail() -> None:
        await signal("now")
        await fragile(label)

    try:
        decided, _ = await gather(wait_for_decision(step_id="review", assigned_to="ann"), fail())
    except StepFailed:
        if not caught:
            raise
        await sleep(days=1)
        return ["went on"]
    return tell(decided)


@pytest.mark.parametrize("tidied", [True, False])
async def test_a_failed_run_that_is_retried_asks_again(office: Office, engine: Engine, tidied: bool) -> None:
    people, label = office.people[engine], f"retried {tidied} {engine.backend.name}"
    handle = await engine.start_run(beside, label, False)
    await wait_until_async(lambda: waits_for_ann(office, engine))
    await handle.signal("now")
    await status_of(handle, "failed")
    assert (await people.inbox(ANN)).items == []
    with pytest.raises(Conflict):
        await people.decide(ANN, handle.run_id, "review", "approve")
    if tidied:
        await people.tidy()
    REPAIRED.add(label)
    await handle.retry()
    await asked(handle)
    assert steps(await people.inbox(ANN)) == ["review"]
    await people.decide(ANN, handle.run_id, "review", "approve")

    assert (await handle.result(timeout=10))[0] == "approved"


async def test_a_branch_that_is_stopped_asks_nobody_any_more(office: Office, engine: Engine) -> None:
    people = office.people[engine]
    handle = await engine.start_run(beside, "caught", True)
    await wait_until_async(lambda: waits_for_ann(office, engine))
    await handle.signal("now")

    async def closed() -> bool:
        [(task, _)] = await people.of_run(handle.run_id)
        return task.status == "cancelled"

    await wait_until_async(closed)
    with pytest.raises(Conflict, match="cancelled already"):
        await people.decide(ANN, handle.run_id, "review", "approve")
    office.lab.pass_time(days=1)
    assert await handle.result(timeout=10) == ["went on"]


@pytest.mark.parametrize("how", ["rejected", "timed out"])
async def test_a_run_that_needs_a_yes_fails_without_and_asks_anew_when_retried(
    office: Office, engine: Engine, how: str
) -> None:
    people = office.people[engine]
    handle = await asked(await start(engine, fail_on=["rejected", "timed_out"], timeout=3600))

    async def refuse() -> None:
        if how == "rejected":
            await people.decide(ANN, handle.run_id, "review", "reject")
        else:
            office.lab.pass_time(hours=1)
        view = await status_of(handle, "failed")
        assert view.error is not None
        assert view.error["error_type"] == ("RejectedByHuman" if how == "rejected" else "HumanTimeout")

    await refuse()
    await handle.retry()
    await asked(handle)
    await refuse()
    await handle.retry()
    await asked(handle)
    await people.decide(ANN, handle.run_id, "review", "approve")

    assert (await handle.result(timeout=10))[0] == "approved"
    assert [task.status for task, _ in await people.of_run(handle.run_id)] == [how.replace(" ", "_")] * 2 + ["approved"]


@workflow(name="people.definition")
async def definition() -> Any:
    """Ask as a step of a definition does: within a step made of steps, beside another branch."""

    async def ask() -> list[Any]:
        decided = await wait_for_decision(
            step_id="review", assigned_to="ann", timeout=3600, reminder=600, fail_on=["rejected", "timed_out"]
        )
        return tell(decided)

    asked_, _ = await gather(compound("review", ask, kind="wait_for_human"), sleep(1))
    return asked_


async def test_a_step_made_of_steps_asks_anew_when_its_run_is_retried(office: Office, engine: Engine) -> None:
    people = office.people[engine]
    handle = await engine.start_run(definition, owner="olga")
    office.lab.pass_time(seconds=1)
    await asked(handle)
    office.lab.pass_time(minutes=10)
    await wait_until_async(lambda: len(office.reminded) == 1)
    await asked(handle)
    await people.decide(ANN, handle.run_id, "review", "reject")
    await status_of(handle, "failed")
    await handle.retry()
    await asked(handle)
    office.lab.pass_time(hours=1)
    await status_of(handle, "failed")
    await handle.retry()
    await asked(handle)
    await people.decide(ANN, handle.run_id, "review", "approve")

    assert (await handle.result(timeout=10))[0] == "approved"
    assert [task.status for task, _ in await people.of_run(handle.run_id)] == ["rejected", "timed_out", "approved"]
