"""Queues: limits that hold over all processes, pauses, and workers that serve some of them."""

import asyncio
from typing import Any

import pytest

from tests.engine.lab import IN_MEMORY, Lab, parked, status_of
from tests.support.waiting import wait_until_async
from windlass import Engine, RunFailed, map, signal, sleep, step, workflow  # noqa: A004
from windlass.kernel.checks import MOST_PLACES
from windlass.kernel.errors import Invalid
from windlass.storage.queues import change_queue


class Meter:
    """How many are at work at once, and doors they wait at until enough of them are."""

    def __init__(self, together: int) -> None:
        self.now = 0
        self.most = 0
        self._together = together
        self._full = asyncio.Event()

    async def work(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        if self.now >= self._together:
            self._full.set()
        await self._full.wait()
        await asyncio.sleep(0)
        self.now -= 1


meter = Meter(1)


@step
async def work() -> None:
    await meter.work()


@workflow(queue="narrow")
async def working() -> str:
    await work()
    await work()
    return "done"


@workflow
async def free() -> str:
    return "done"


@pytest.fixture(autouse=True)
def _new_meter() -> None:
    meter.__init__(2)  # type: ignore[misc]


@pytest.mark.parametrize("queue", ["narrow", "*"])
async def test_a_limit_holds_over_all_processes(lab: Lab, queue: str) -> None:
    engines = [await lab.engine(), await lab.engine()]
    await engines[0].set_queue(queue, limit=2)
    handles = [await engines[number % 2].start_run(working) for number in range(12)]

    for handle in handles:
        assert await handle.result(timeout=20) == "done"
    assert meter.most == 2


async def test_a_place_that_becomes_free_is_taken_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.engine.worker.POLL_SECONDS", 3600.0)
    meter.__init__(1)  # type: ignore[misc]
    engine = await lab.engine()
    await engine.set_queue("narrow", limit=1)

    handles = [await engine.start_run(working) for _ in range(20)]

    for handle in handles:
        assert await handle.result(timeout=10) == "done"
    assert meter.most == 1


async def test_a_place_given_back_by_a_waiting_run_is_taken_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.engine.worker.POLL_SECONDS", 3600.0)

    @workflow(queue="narrow")
    async def waits() -> object:
        return await signal("go")

    engine = await lab.engine()
    await engine.set_queue("narrow", limit=1)
    handles = [await engine.start_run(waits) for _ in range(5)]
    for handle in handles:
        await parked(handle)
    for number, handle in enumerate(handles):
        await handle.signal("go", number)

    assert [await handle.result(timeout=10) for handle in handles] == [0, 1, 2, 3, 4]


async def test_other_queues_are_not_held_up(engine: Engine) -> None:
    @workflow(queue="blocked")
    async def stuck() -> None:
        await asyncio.Event().wait()

    await engine.set_queue("blocked", limit=1)
    blocked = [await engine.start_run(stuck) for _ in range(3)]

    for _ in range(5):
        assert await (await engine.start_run(free)).result(timeout=10) == "done"
    for handle in blocked:
        await handle.cancel()
        await status_of(handle, "cancelled")


async def test_waiting_runs_hold_no_place(engine: Engine, lab: Lab) -> None:
    @workflow(queue="narrow")
    async def nap() -> str:
        await sleep(days=1)
        return "awake"

    await engine.set_queue("narrow", limit=1)
    sleepers = [await engine.start_run(nap) for _ in range(5)]
    for handle in sleepers:
        await parked(handle)
    lab.pass_time(days=1)

    assert [await handle.result(timeout=10) for handle in sleepers] == ["awake"] * 5


async def test_a_paused_queue_starts_nothing_until_it_is_resumed(engine: Engine) -> None:
    await engine.set_queue("narrow", paused=True)
    handle = await engine.start_run(working)
    await (await engine.start_run(free)).result(timeout=10)
    assert (await handle.status()).status == "queued"
    assert meter.most == 0

    meter.__init__(1)  # type: ignore[misc]
    await engine.set_queue("narrow")

    assert await handle.result(timeout=10) == "done"


async def test_a_limit_may_be_changed_and_lifted(engine: Engine) -> None:
    await engine.set_queue("narrow", limit=1)
    meter.__init__(1)  # type: ignore[misc]
    for handle in [await engine.start_run(working) for _ in range(3)]:
        await handle.result(timeout=10)
    assert meter.most == 1

    meter.__init__(3)  # type: ignore[misc]
    await engine.set_queue("narrow", limit=3)
    for handle in [await engine.start_run(working) for _ in range(6)]:
        await handle.result(timeout=10)
    assert meter.most == 3

    meter.__init__(6)  # type: ignore[misc]
    await engine.set_queue("narrow")
    for handle in [await engine.start_run(working) for _ in range(6)]:
        await handle.result(timeout=10)
    assert meter.most == 6


async def test_a_process_takes_no_more_runs_while_it_has_enough_to_do(lab: Lab) -> None:
    watching = await lab.engine(worker=False)
    handles = [await watching.start_run(working) for _ in range(10)]

    await lab.engine(concurrency=2)

    for handle in handles:
        assert await handle.result(timeout=10) == "done"
    assert meter.most == 2


async def test_runs_that_wait_do_not_count_against_a_process(lab: Lab) -> None:
    engine = await lab.engine(concurrency=1)

    @workflow
    async def child(number: int) -> int:
        return number

    @workflow
    async def parent() -> int:
        return sum(await map(child, range(5)))

    waiting = [await engine.start_run(parent) for _ in range(3)]

    assert [await handle.result(timeout=10) for handle in waiting] == [10, 10, 10]


async def test_a_worker_serves_its_own_queues_only(lab: Lab) -> None:
    served: list[str] = []

    @workflow(queue="a")
    async def job(name: str) -> str:
        served.append(name)
        return name

    only_b = await lab.engine(queues=["b"])
    first = await only_b.start_run(job, "for a")
    second = await only_b.start_run(job, "for b", queue="b")
    await second.result(timeout=10)
    assert served == ["for b"]
    assert (await first.status()).status == "queued"

    await lab.engine(queues=["a"])

    assert await first.result(timeout=10) == "for a"


async def test_a_dead_process_s_places_are_free_again(lab: Lab) -> None:
    begun = asyncio.Event()

    @workflow(queue="narrow")
    async def once() -> str:
        if not begun.is_set():
            begun.set()
            await asyncio.Event().wait()
        return "second try"

    first = await lab.engine()
    await first.set_queue("narrow", limit=1)
    handles = [await first.start_run(once) for _ in range(3)]
    await begun.wait()
    await lab.crash(first)
    second = await lab.engine()

    for handle in handles:
        assert await second.handle(handle.run_id).result(timeout=10) == "second try"


@IN_MEMORY
@pytest.mark.parametrize("limit", [0, -1, MOST_PLACES + 1, 1.5, True])
async def test_a_limit_is_as_high_as_there_may_be_places(engine: Engine, limit: Any) -> None:
    for change in (
        engine.set_queue("narrow", limit=limit),
        change_queue(engine, "narrow", {"limit": limit}),
    ):
        with pytest.raises(Invalid, match=f"a limit is from 1 to {MOST_PLACES}; to stop a queue, pause it"):
            await change


async def test_a_failed_run_frees_its_place(engine: Engine) -> None:
    @workflow(queue="narrow")
    async def broken() -> None:
        raise ValueError("no")

    await engine.set_queue("narrow", limit=1)
    for handle in [await engine.start_run(broken) for _ in range(3)]:
        with pytest.raises(RunFailed):
            await handle.result(timeout=10)
    await wait_until_async(lambda: not engine.worker.runs)
