"""Processes come and go: runs are given back, taken over, and set aside when they kill whoever holds them."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from tests.engine.lab import Lab, event_types, parked, payloads, status_of
from tests.support.waiting import wait_until_async
from windlass import Engine, RunFailed, gather, signal, sleep, step, step_info, workflow
from windlass.engine.ports import Ring
from windlass.engine.run import Run
from windlass.engine.types import Advance, Event
from windlass.storage.batches import Outcome, Pending
from windlass.storage.committer import Committer


class Site:
    """Steps that note which of their executions they are, and wait at doors."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.open = asyncio.Event()


site = Site()


@pytest.fixture(autouse=True)
def _new_site() -> None:
    site.__init__()  # type: ignore[misc]


@step
async def build(name: str) -> str:
    site.begun.append(name)
    await site.open.wait()
    site.ended.append(name)
    return name


@workflow
async def house() -> str:
    return await build("walls") + await build("roof")


@workflow
async def guarded_house() -> str:
    await signal("unlock")
    return await build("walls")


async def test_a_stopping_process_lets_running_steps_finish_and_gives_its_runs_back(lab: Lab) -> None:
    first = await lab.engine()
    handle = await first.start_run(house)
    await wait_until_async(lambda: site.begun == ["walls"])
    stopping = asyncio.ensure_future(lab.stop(first, grace=10))
    await wait_until_async(lambda: first.worker.stopping)
    site.open.set()
    await stopping
    assert (site.begun, site.ended) == (["walls"], ["walls"])
    second = await lab.engine()

    assert await second.handle(handle.run_id).result(timeout=10) == "wallsroof"
    assert site.begun == ["walls", "roof"]
    assert (await second.get_run(handle.run_id)).deaths == 0
    assert "run_requeued" not in await event_types(second, handle)


async def test_steps_that_take_longer_than_the_grace_run_again_elsewhere(lab: Lab) -> None:
    first = await lab.engine()
    handle = await first.start_run(house)
    await wait_until_async(lambda: site.begun == ["walls"])
    await lab.stop(first, grace=0.01)
    assert site.ended == []
    site.open.set()
    second = await lab.engine()

    assert await second.handle(handle.run_id).result(timeout=10) == "wallsroof"
    assert site.begun == ["walls", "walls", "roof"]


async def test_waiting_runs_wait_on_when_their_process_stops(lab: Lab) -> None:
    @workflow
    async def waits() -> object:
        return await gather(signal("go"), sleep(days=1))

    first = await lab.engine()
    handle = await first.start_run(waits)
    await lab.stop(first)
    second = await lab.engine()
    again = second.handle(handle.run_id)
    view = await parked(again)
    assert view.wake_at is not None
    await again.signal("go", 1)
    lab.pass_time(days=1)

    assert await again.result(timeout=10) == [1, None]


@pytest.mark.parametrize("database", ["postgres"], indirect=True)  # the others write on the event loop
async def test_what_comes_while_a_run_leaves_a_stopping_process_is_not_waited_for_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await lab.engine()
    committer = lab.processes[first].writers[0].inner
    assert isinstance(committer, Committer)
    leaving, written = threading.Event(), threading.Event()
    write = committer._writer.write

    def write_late(batch: Sequence[Pending]) -> tuple[list[Outcome], list[Ring], list[Event]]:
        if any(isinstance(pending.unit, Advance) and pending.unit.park for pending in batch):
            leaving.set()
            written.wait(30)
        return write(batch)

    monkeypatch.setattr(committer._writer, "write", write_late)
    handle = await first.start_run(guarded_house)
    await wait_until_async(leaving.is_set)
    run = first.worker.runs[handle.run_id]
    assert isinstance(run, Run)
    other = await lab.engine()  # not before: it might have claimed the run
    await other.signal(handle.run_id, "unlock")
    stopping = asyncio.ensure_future(lab.stop(first))
    await wait_until_async(lambda: run._ashore or committer.waiting > 1, what="the run being given back")
    site.open.set()
    written.set()
    await stopping

    assert await other.result(handle.run_id, timeout=30) == "walls"


async def test_a_stopped_process_leaves_nothing_to_take_over(lab: Lab) -> None:
    first = await lab.engine()
    handles = [await first.start_run(house) for _ in range(20)]
    await wait_until_async(lambda: len(site.begun) == 20)
    await lab.stop(first, grace=0)
    watching = await lab.engine(worker=False)

    for handle in handles:
        view = await watching.get_run(handle.run_id)
        assert (view.holder, view.status, view.deaths) == (None, "running", 0)
    assert leases(lab, watching) == [watching.worker.holder]
    site.open.set()
    await lab.engine()
    for handle in handles:
        assert await watching.handle(handle.run_id).result(timeout=10) == "wallsroof"


async def test_a_dead_process_s_runs_are_taken_over_by_a_living_one(lab: Lab) -> None:
    first = await lab.engine()
    handles = [await first.start_run(house) for _ in range(10)]
    await wait_until_async(lambda: len(site.begun) == 10)
    second = await lab.engine()
    await lab.crash(first)
    site.open.set()

    for handle in handles:
        again = second.handle(handle.run_id)
        assert await again.result(timeout=10) == "wallsroof"
        assert {"reason": "holder_died"} in await payloads(second, again, "run_requeued")
    await wait_until_async(lambda: leases(lab, second) == [second.worker.holder], what="the dead to be forgotten")


def leases(lab: Lab, engine: Engine) -> list[str]:
    """Return whose leases the database knows."""
    return [row[0] for row in lab.database.dump(lab.processes[engine].backend)["leases"]]


async def test_a_process_declared_dead_by_mistake_can_write_nothing_and_comes_back(lab: Lab) -> None:
    doors = {"first": asyncio.Event(), "second": asyncio.Event()}

    @step
    async def slow() -> str:
        name = "first" if not site.begun else "second"
        site.begun.append(name)
        await doors[name].wait()
        return name

    @workflow
    async def run() -> str:
        return await slow()

    first = await lab.engine()
    handle = await first.start_run(run)
    await wait_until_async(lambda: site.begun == ["first"])
    old = first.worker.holder
    lab.write(lambda tx: tx.end_lease(old, force=True))
    doors["first"].set()
    await wait_until_async(lambda: site.begun == ["first", "second"])
    assert first.worker.holder != old
    doors["second"].set()

    assert await handle.result(timeout=10) == "second"
    assert (await event_types(first, handle)).count("step_completed") == 1


async def die(lab: Lab, times: int) -> None:
    """Let so many processes take the site's run and die of it, one after the other."""
    for time in range(times):
        engine = await lab.engine()
        begun = len(site.begun)
        await wait_until_async(lambda begun=begun: len(site.begun) > begun)  # type: ignore[misc]
        if time % 2:
            lab.clock.move(seconds=2)
            await wait_until_async(lambda engine=engine: starts_are_written(engine))  # type: ignore[misc]
        await lab.crash(engine)


async def starts_are_written(engine: Engine) -> bool:
    return all(not at for run in engine.worker.runs.values() for at in run.executing.values())


async def test_a_run_that_kills_five_processes_is_set_aside_until_somebody_resumes_it(lab: Lab) -> None:
    watching = await lab.engine(worker=False)
    handle = await watching.start_run(house)

    await die(lab, 5)

    view = await status_of(handle, "paused")
    assert (view.status_reason, view.wait_reason) == ("poisoned", "poisoned")
    assert {"by": "engine", "reason": "poisoned"} in await payloads(watching, handle, "run_paused")
    working = await lab.engine()
    site.open.set()
    assert await (await working.start_run(house)).result(timeout=10) == "wallsroof"
    assert (await handle.status()).status == "paused"

    await handle.resume()

    assert await handle.result(timeout=10) == "wallsroof"
    assert (await handle.status()).deaths == 0


async def test_deaths_count_from_the_last_progress(lab: Lab) -> None:
    doors = [asyncio.Event() for _ in range(2)]

    @step
    async def dangerous(number: int) -> None:
        site.begun.append(str(number))
        await doors[number].wait()

    @workflow
    async def long() -> str:
        for number in range(2):
            await dangerous(number)
        return "done"

    watching = await lab.engine(worker=False)
    handle = await watching.start_run(long)
    await die(lab, 4)
    doors[0].set()
    survivor = await lab.engine()
    await wait_until_async(lambda: completed(survivor, handle.run_id))
    await wait_until_async(lambda: "1" in site.begun)
    await lab.crash(survivor)
    await die(lab, 3)
    doors[1].set()
    await lab.engine()

    assert await handle.result(timeout=10) == "done"
    assert site.begun == ["0"] * 5 + ["1"] * 5


async def completed(engine: Engine, run_id: str) -> bool:
    return "step_completed" in [event.type for event in await engine.events(run_id)]


async def test_the_start_of_a_long_step_is_written_while_it_runs(engine: Engine, lab: Lab) -> None:
    handle = await engine.start_run(house)
    await wait_until_async(lambda: site.begun == ["walls"])
    assert await event_types(engine, handle) == ["run_started"]
    lab.clock.move(seconds=2)
    await wait_until_async(lambda: written(engine, handle.run_id))
    site.open.set()

    assert await handle.result(timeout=10) == "wallsroof"
    assert (await event_types(engine, handle)).count("step_started") == 2


async def written(engine: Engine, run_id: str) -> bool:
    return "step_started" in [event.type for event in await engine.events(run_id)]


async def test_two_processes_share_the_work(lab: Lab) -> None:
    engines: list[Engine] = []
    held: list[set[str]] = [set(), set()]
    both = asyncio.Event()

    @workflow
    async def shared() -> None:
        await spread()

    @step
    async def spread() -> None:
        run_id = step_info().run_id
        for engine, mine in zip(engines, held, strict=False):
            if run_id in engine.worker.runs:
                mine.add(run_id)
        if all(held):
            both.set()
        await both.wait()

    watching = await lab.engine(worker=False)
    handles = [await watching.start_run(shared) for _ in range(8)]
    engines.append(await lab.engine(concurrency=5))
    engines.append(await lab.engine(concurrency=5))
    for handle in handles:
        await handle.result(timeout=10)

    assert len(held[0] | held[1]) == 8
    assert held[0] & held[1] == set()


async def test_a_workflow_learned_after_the_start_is_carried_out(engine: Engine) -> None:
    await (await engine.start_run("learned", number=1)).status()

    @workflow(name="learned")
    async def learned(number: int) -> int:
        return number

    assert await (await engine.start_run(learned, 2)).result(timeout=10) == 2
    [old] = [view for view in await engine.list_runs() if view.inputs == {"number": 1}]
    assert await engine.handle(old.run_id).result(timeout=10) == 1


async def test_a_process_that_stops_does_not_wait_for_abandoned_functions(lab: Lab) -> None:
    release = threading.Event()

    @step
    def stuck() -> None:
        site.begun.append("stuck")
        release.wait(20)

    @workflow
    async def run() -> None:
        await stuck()

    engine = await lab.engine()
    handle = await engine.start_run(run)
    await wait_until_async(lambda: site.begun == ["stuck"])
    await asyncio.wait_for(lab.stop(engine, grace=0.01), 10)
    watching = await lab.engine(worker=False)

    assert (await watching.get_run(handle.run_id)).holder is None
    release.set()
    await lab.engine()
    await watching.handle(handle.run_id).result(timeout=10)
    assert site.begun == ["stuck", "stuck"]


async def test_an_unknown_error_of_the_code_never_takes_the_process_along(engine: Engine) -> None:
    @workflow
    async def recursive() -> None:
        await recursive.fn()

    with pytest.raises(RunFailed, match="recursion depth"):
        await (await engine.start_run(recursive)).result(timeout=10)
    site.open.set()
    assert await (await engine.start_run(house)).result(timeout=10) == "wallsroof"
