"""Cancel: whatever state a run is in, nothing more of it happens; terminal runs stay as they are."""

import asyncio

import pytest

from tests.engine.lab import Lab, event_types, journal, parked, payloads, status_of
from tests.support.waiting import wait_until_async
from windlass import Engine, RunCancelled, RunConflict, UnknownRun, gather, signal, sleep, step, workflow
from windlass.kernel.errors import Invalid

executed: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    executed.clear()


@step
async def note(name: str) -> str:
    executed.append(name)
    return name


@workflow
async def noticed() -> str:
    return await note("done")


@workflow
async def stalling() -> str:
    await signal("never")
    return await note("done")


class Stuck:
    """A workflow whose step never ends by itself, and what became of that step."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.stopped = asyncio.Event()

        @step
        async def endless() -> None:
            self.begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.stopped.set()

        @workflow
        async def stuck() -> None:
            await endless()
            await note("after")

        self.workflow = stuck


async def test_a_held_run_is_cancelled_with_its_running_step(engine: Engine) -> None:
    stuck = Stuck()
    handle = await engine.start_run(stuck.workflow)
    await stuck.begun.wait()

    assert (await handle.cancel("too dear")).result == "sent"

    with pytest.raises(RunCancelled, match="too dear"):
        await handle.result(timeout=10)
    await asyncio.wait_for(stuck.stopped.wait(), 10)
    view = await handle.status()
    assert (view.status, view.status_reason, view.outputs) == ("cancelled", "too dear", None)
    assert view.ended_at is not None
    assert (await event_types(engine, handle))[-2:] == ["cancel_acknowledged", "run_cancelled"]
    assert executed == []
    await wait_until_async(lambda: not engine.worker.runs)


async def test_branches_are_cancelled_together(engine: Engine) -> None:
    stopped: list[int] = []
    begun = asyncio.Semaphore(0)

    @step
    async def endless(number: int) -> None:
        begun.release()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(number)

    @workflow
    async def wide() -> None:
        await gather(*(endless(number) for number in range(5)), sleep(days=1), signal("never"))

    handle = await engine.start_run(wide)
    for _ in range(5):
        await begun.acquire()
    await handle.cancel()

    with pytest.raises(RunCancelled):
        await handle.result(timeout=10)
    await wait_until_async(lambda: sorted(stopped) == [0, 1, 2, 3, 4])


async def test_a_parked_run_is_cancelled_at_once(engine: Engine) -> None:
    handle = await engine.start_run(stalling)
    await parked(handle)

    assert (await handle.cancel()).result == "applied"

    view = await handle.status()
    assert (view.status, view.status_reason, view.wait_reason) == ("cancelled", "cancelled_by_user", None)
    [said] = await payloads(engine, handle, "run_cancelled")
    assert said == {"by": "user", "reason": "cancelled_by_user"}


async def test_queued_delayed_and_paused_runs_are_cancelled_at_once(lab: Lab) -> None:
    watching = await lab.engine(worker=False)
    queued = await watching.start_run(noticed)
    delayed = await watching.start_run(noticed, delay=3600)
    paused = await watching.start_run(noticed)
    await paused.pause()

    for handle in (queued, delayed, paused):
        assert (await handle.cancel()).result == "applied"
    working = await lab.engine()
    lab.pass_time(hours=2)
    await (await working.start_run(noticed)).result(timeout=10)

    assert [(await handle.status()).status for handle in (queued, delayed, paused)] == ["cancelled"] * 3
    assert executed == ["done"]


async def test_who_waits_for_it_hears_it_wherever_it_is(lab: Lab) -> None:
    working, watching = await lab.engine(), await lab.engine(worker=False)
    handle = await working.start_run(stalling)
    hearing = asyncio.ensure_future(watching.handle(handle.run_id).result(timeout=10))
    await parked(handle)

    await watching.handle(handle.run_id).cancel("from afar")

    with pytest.raises(RunCancelled, match="from afar"):
        await hearing


async def test_a_cancellation_that_its_holder_did_not_live_to_see_is_carried_out(lab: Lab) -> None:
    stuck = Stuck()
    first, watching = await lab.engine(), await lab.engine(worker=False)
    handle = await first.start_run(stuck.workflow)
    await stuck.begun.wait()
    first.worker.stopping = True  # a frozen process hears nothing
    lab.freeze(first)
    again = watching.handle(handle.run_id)
    assert (await again.cancel()).result == "sent"
    await lab.crash(first)
    stuck.begun.clear()
    await lab.engine()

    await status_of(again, "cancelled")
    assert not stuck.begun.is_set()


async def test_cancelling_twice_is_harmless(engine: Engine) -> None:
    handle = await engine.start_run(stalling)
    await parked(handle)
    await handle.cancel("first")

    assert (await handle.cancel("second")).result == "already_applied"
    assert (await handle.status()).status_reason == "first"
    assert len(await payloads(engine, handle, "run_cancelled")) == 1


async def test_who_has_ended_is_not_cancelled(engine: Engine) -> None:
    @workflow
    async def broken() -> None:
        raise ValueError("no")

    succeeded = await engine.start_run(noticed)
    assert await succeeded.result(timeout=10) == "done"
    failed = await engine.start_run(broken)
    await status_of(failed, "failed")

    for handle, status in ((succeeded, "succeeded"), (failed, "failed")):
        before = await handle.status()
        length = len(await journal(engine, handle))
        with pytest.raises(RunConflict, match=f"run is {status}"):
            await handle.cancel()
        assert await handle.status() == before
        assert len(await journal(engine, handle)) == length


async def test_code_cannot_refuse_to_be_cancelled(engine: Engine) -> None:
    begun = asyncio.Event()

    @workflow
    async def stubborn() -> str:
        try:
            begun.set()
            await signal("never")
        except BaseException:  # noqa: BLE001  the point of the test
            return await note("still here")
        return ""

    handle = await engine.start_run(stubborn)
    await begun.wait()
    await handle.cancel()

    await status_of(handle, "cancelled")
    await wait_until_async(lambda: not engine.worker.runs)
    assert executed == []
    assert (await handle.status()).outputs is None


async def test_unknown_runs_and_actions_are_refused(engine: Engine) -> None:
    with pytest.raises(UnknownRun):
        await engine.control("nobody", "cancel")
    with pytest.raises(Invalid, match="action is one of cancel, pause, resume, retry, not 'explode'"):
        await engine.control("nobody", "explode")


async def test_a_cancelled_run_frees_its_place_in_the_queue(engine: Engine) -> None:
    stuck = Stuck()
    await engine.set_queue("default", limit=1)
    first = await engine.start_run(stuck.workflow)
    await stuck.begun.wait()
    second = await engine.start_run(noticed)
    assert (await second.status()).status == "queued"

    await first.cancel()

    assert await second.result(timeout=10) == "done"
