"""A run that waits for nothing but a person says so in its row, and is woken, paused, retried and taken over as any."""

import pytest

from tests.engine.lab import Lab, event_types, parked, payloads, status_of
from tests.support.waiting import wait_until_async
from windlass import Engine, Handle, SignalTimeout, gather, signal, sleep, workflow
from windlass.engine.types import Status

TOLD = {"assigned_to": ["ann"]}


@workflow(name="people.review")
async def review(kind: str = "waiting_human", timeout: float | None = None) -> object:
    try:
        return await signal("decision", timeout=timeout, status=Status(kind), told=TOLD)
    except SignalTimeout:
        return "nobody came"


async def asked(handle: Handle, status: str = "waiting_human") -> None:
    """Wait until the row says for whom the run waits."""
    view = await status_of(handle, status)
    assert (view.status_reason, view.wait_reason, view.holder) == ("awaiting_review", "signal:decision", None)


@pytest.mark.parametrize("kind", ["waiting_human", "waiting_approval"])
async def test_the_row_and_the_journal_say_that_a_person_is_asked(engine: Engine, kind: str) -> None:
    handle = await engine.start_run(review, kind)
    await asked(handle, kind)
    await wait_until_async(lambda: not engine.worker.runs, what="the run to have left memory")

    await handle.signal("decision", "yes")

    assert await handle.result(timeout=10) == "yes"
    assert await event_types(engine, handle) == ["run_started", kind, "signal_received", "run_completed"]
    assert await payloads(engine, handle, kind) == [{"assigned_to": ["ann"], "due_at": None}]
    view = await handle.status()
    assert (view.status, view.status_reason, view.wait_reason) == ("succeeded", None, None)


async def test_the_row_says_so_at_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.engine.run.LINGER", 3600)
    handle = await engine.start_run(review, timeout=1800)

    await asked(handle)


async def test_a_decision_before_the_question_is_not_lost(engine: Engine) -> None:
    handle = await engine.start_run(review)
    await handle.signal("decision", "early")

    assert await handle.result(timeout=10) == "early"


async def test_a_person_may_take_a_month_and_any_process_goes_on(lab: Lab) -> None:
    first = await lab.engine()
    handle = await first.start_run(review, timeout=90 * 86400)
    await asked(handle)
    await lab.stop(first)
    lab.clock.move(days=30)
    second = await lab.engine()
    await asked(second.handle(handle.run_id))

    await second.signal(handle.run_id, "decision", "at last")

    assert await second.result(handle.run_id, timeout=10) == "at last"
    assert (await event_types(second, second.handle(handle.run_id))).count("waiting_human") == 1


async def test_the_time_given_to_a_person_runs_out(engine: Engine, lab: Lab) -> None:
    handle = await engine.start_run(review, timeout=3600)
    await asked(handle)
    lab.pass_time(hours=1)

    assert await handle.result(timeout=10) == "nobody came"
    assert await event_types(engine, handle) == ["run_started", "waiting_human", "signal_timed_out", "run_completed"]


async def test_a_crash_loses_neither_the_question_nor_the_answer(lab: Lab) -> None:
    first = await lab.engine()
    handle = await first.start_run(review)
    await asked(handle)
    await first.signal(handle.run_id, "decision", "yes")
    await lab.crash(first)
    second = await lab.engine()

    assert await second.result(handle.run_id, timeout=10) == "yes"


async def test_whoever_waits_for_something_else_too_is_running(engine: Engine, lab: Lab) -> None:
    @workflow
    async def both() -> list[object]:
        return await gather(
            signal("decision", status=Status.WAITING_APPROVAL, told=TOLD), sleep(days=1), signal("news")
        )

    handle = await engine.start_run(both)
    view = await parked(handle)
    assert (view.status, view.status_reason, view.wait_reason) == ("running", None, "2 things")
    await handle.signal("news", 1)
    lab.pass_time(days=1)
    await asked(handle, "waiting_approval")
    await handle.signal("decision", 2)

    assert await handle.result(timeout=10) == [2, None, 1]


async def test_a_run_that_waits_for_several_people_is_waiting_for_a_human(engine: Engine) -> None:
    @workflow
    async def several() -> list[object]:
        return await gather(
            signal("decision", status=Status.WAITING_APPROVAL, told=TOLD),
            signal("other", status=Status.WAITING_HUMAN, told=TOLD),
        )

    handle = await engine.start_run(several)
    assert (await status_of(handle, "waiting_human")).wait_reason == "2 things"
    await handle.signal("other", 1)
    await asked(handle, "waiting_approval")
    await handle.signal("decision", 2)

    assert await handle.result(timeout=10) == [2, 1]


async def test_it_is_paused_and_resumed(engine: Engine) -> None:
    handle = await engine.start_run(review)
    await asked(handle)
    await handle.pause()
    assert (await handle.status()).status == "paused"
    await handle.signal("decision", "while it was paused")
    assert (await handle.status()).status == "paused"

    await handle.resume()

    assert await handle.result(timeout=10) == "while it was paused"


async def test_resumed_without_a_decision_it_asks_on(engine: Engine) -> None:
    handle = await engine.start_run(review)
    await asked(handle)
    await handle.pause()
    await handle.resume()

    await asked(handle)
    assert (await event_types(engine, handle)).count("waiting_human") == 1


async def test_it_is_cancelled_at_once(engine: Engine) -> None:
    handle = await engine.start_run(review)
    await asked(handle)

    assert (await handle.cancel()).result == "applied"
    view = await handle.status()
    assert (view.status, view.wait_reason) == ("cancelled", None)


async def test_a_failed_run_that_is_retried_asks_again(engine: Engine, lab: Lab) -> None:
    @workflow
    async def strict() -> object:
        return await signal("decision", timeout=60, status=Status.WAITING_HUMAN, told=TOLD)

    handle = await engine.start_run(strict)
    await asked(handle)
    lab.pass_time(minutes=1)
    await status_of(handle, "failed")
    await handle.retry()
    await asked(handle)
    await handle.signal("decision", "now")

    assert await handle.result(timeout=10) == "now"
    assert (await event_types(engine, handle)).count("waiting_human") == 2


async def test_a_run_waits_in_no_other_status(engine: Engine) -> None:
    @workflow
    async def odd() -> None:
        await signal("x", status=Status.PAUSED)

    handle = await engine.start_run(odd)
    view = await status_of(handle, "failed")
    assert view.error is not None
    assert "cannot wait as paused" in view.error["message"]
