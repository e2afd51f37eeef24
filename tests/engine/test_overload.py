"""More writes than the database takes: callers hear so at once, and what was accepted is done."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from tests.engine.lab import Lab, Mortal, parked
from tests.support.waiting import wait_until_async
from windlass import Engine, Handle, Overloaded, signal, step, workflow
from windlass.engine.ports import Transaction
from windlass.storage.committer import Committer

LIMIT = 5


class Jam:
    """A unit of work that keeps the writer until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.over = threading.Event()

    def __call__(self, tx: Transaction) -> None:
        self.begun.set()
        assert self.over.wait(20)


@pytest.fixture
def jam() -> Iterator[Jam]:
    jam = Jam()
    yield jam
    jam.over.set()


@step
async def note(number: int) -> int:
    return number


@workflow
async def counting(number: int) -> int:
    return await note(number)


@workflow
async def listening() -> object:
    return await signal("go")


def waiting_units(engine: Engine) -> int:
    """Return how many units of work wait for the writer."""
    commits = engine.commits
    assert isinstance(commits, Mortal)
    assert isinstance(commits.inner, Committer)
    return commits.inner.waiting


async def jammed(engine: Engine, jam: Jam) -> asyncio.Future[None]:
    """Keep the writer busy."""
    busy = asyncio.ensure_future(engine.transact(jam))
    await wait_until_async(jam.begun.is_set)
    return busy


async def test_when_too_much_waits_callers_hear_when_to_try_again(lab: Lab, jam: Jam) -> None:
    engine = await lab.engine(limit=LIMIT)
    listener = await engine.start_run(listening)
    await parked(listener)
    busy = await jammed(engine, jam)

    starts = [asyncio.ensure_future(engine.start_run(counting, number)) for number in range(20)]
    await wait_until_async(lambda: sum(start.done() for start in starts) == 20 - LIMIT)
    refused = [start.exception() for start in starts if start.done()]
    assert all(isinstance(error, Overloaded) for error in refused)
    for error in refused:
        assert isinstance(error, Overloaded)
        assert error.retry_after > 0
        assert error.data == {"waiting": LIMIT}
    for call in (listener.signal("go"), listener.cancel(), engine.transact(lambda _tx: None)):
        with pytest.raises(Overloaded):
            await call

    jam.over.set()
    await busy
    accepted = [await start for start in starts if start.done() is False or start.exception() is None]
    assert len(accepted) == LIMIT
    assert sorted([await handle.result(timeout=10) for handle in accepted]) == list(range(LIMIT))
    assert len(await engine.list_runs()) == LIMIT + 1
    assert await listener.signal("go", 1)
    assert await listener.result(timeout=10) == 1


async def test_a_refused_start_leaves_no_trace_in_the_process(lab: Lab, jam: Jam) -> None:
    engine = await lab.engine(limit=LIMIT)
    busy = await jammed(engine, jam)
    starts = [asyncio.ensure_future(engine.start_run(counting, number)) for number in range(20)]
    await wait_until_async(lambda: sum(start.done() for start in starts) == 20 - LIMIT)
    jam.over.set()
    await busy
    results = await asyncio.gather(*starts, return_exceptions=True)

    for handle in results:
        if isinstance(handle, Handle):
            await handle.result(timeout=10)
    await wait_until_async(lambda: not engine.worker.runs)
    assert (engine.worker.active, engine.worker.births) == (0, 0)


async def test_runs_at_work_are_not_refused(lab: Lab, jam: Jam) -> None:
    engine = await lab.engine(limit=LIMIT)
    gate = asyncio.Event()

    @step
    async def gated(number: int) -> int:
        await gate.wait()
        return number

    @workflow
    async def working(number: int) -> int:
        return await gated(number)

    handles = [await engine.start_run(working, number) for number in range(20)]
    busy = await jammed(engine, jam)
    gate.set()
    await wait_until_async(lambda: waiting_units(engine) >= 20)
    with pytest.raises(Overloaded):
        await engine.start_run(counting, 1)
    jam.over.set()
    await busy

    assert [await handle.result(timeout=10) for handle in handles] == list(range(20))


async def test_work_of_one_s_own_is_not_refused_when_it_says_so(lab: Lab, jam: Jam) -> None:
    engine = await lab.engine(limit=LIMIT)
    busy = await jammed(engine, jam)
    patient = [asyncio.ensure_future(engine.start_run(counting, number, bounded=False)) for number in range(4 * LIMIT)]
    await wait_until_async(lambda: waiting_units(engine) >= 4 * LIMIT)
    jam.over.set()
    await busy

    assert [await (await start).result(timeout=10) for start in patient] == list(range(4 * LIMIT))
