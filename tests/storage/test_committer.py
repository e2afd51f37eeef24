"""Group commit: many callers, one transaction, answers only once it is on disk. Promise 2."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from tests.storage.databases import Database
from tests.storage.faults import FaultySession
from tests.storage.scene import Scene
from tests.support.waiting import wait_until_async
from windlass.contexts.records.creation import INTAKE, Intake
from windlass.contexts.records.model import Draft
from windlass.engine.control import CLAIM, SIGNAL
from windlass.engine.errors import Fenced, Overloaded, WriteFailed
from windlass.engine.journal import ADVANCE, START
from windlass.engine.ops import CALL
from windlass.engine.ports import Backend, Ring, Transaction
from windlass.engine.types import (
    Advance,
    ClaimRequest,
    Event,
    Finish,
    NewEvent,
    SignalRequest,
    Started,
    StartRequest,
    Status,
)
from windlass.storage import committer as committers
from windlass.storage.batches import OutcomeUnknown, Pending
from windlass.storage.committer import Committer


class Process:
    """A committer of its own, and what it rang. ``inline``: the event loop may write."""

    def __init__(self, backend: Backend, *, inline: bool, limit: int = 10_000) -> None:
        self.session = FaultySession(backend.write_session())
        self.session.inline = inline
        self.rings: list[Ring] = []
        self.on_written: Callable[[Sequence[Event]], None] = lambda _written: None
        self.committer = Committer(self.session, limit=limit, on_rings=self._ring)
        self.open = True

    def _ring(self, rings: Sequence[Ring], written: Sequence[Event]) -> None:
        self.rings.extend(rings)
        self.on_written(written)

    async def close(self) -> None:
        if self.open:
            self.open = False
            await asyncio.to_thread(self.committer.close)


@pytest.fixture
async def process(database: Database, backend: Backend) -> AsyncIterator[Process]:
    process = Process(backend, inline=database.inline)
    process.committer.start()
    yield process
    await process.close()


async def test_an_answer_means_that_others_can_read_it(process: Process, other: Scene) -> None:
    run = other.new_run()

    started = await process.committer.submit(START, StartRequest(run))

    assert started == Started(run.run_id, True, None)
    assert other.view(run.run_id).status == "queued"
    await wait_until_async(lambda: [ring.run_id for ring in process.rings] == [run.run_id])


async def test_what_waits_together_is_written_together(process: Process, other: Scene) -> None:
    runs = [other.new_run() for _ in range(200)]

    answers = await asyncio.gather(*(process.committer.submit(START, StartRequest(run)) for run in runs))

    assert [answer.run_id for answer in answers] == [run.run_id for run in runs]
    assert process.session.begun <= 10
    assert process.committer.units == 200
    await wait_until_async(lambda: process.committer.waiting == 0)


async def test_a_transaction_carries_a_bounded_weight(
    process: Process, other: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committers, "MAX_BATCH_BYTES", 10_000)
    runs = [other.new_run(inputs=orjson.dumps("x" * size).decode()) for size in [4000, 20_000] + [4000] * 8]

    answers = await asyncio.gather(*(process.committer.submit(START, StartRequest(run)) for run in runs))

    assert [answer.run_id for answer in answers] == [run.run_id for run in runs]
    assert process.session.begun >= 6  # the first alone, for the heavy one does not fit beside it; then two at a time


def test_units_weigh_what_their_callers_wrote(scene: Scene) -> None:
    run = scene.new_run(inputs='"1234"', attributes='{"a":1}')
    draft = Draft("source", "category", '{"a":"b"}')
    finish = Finish(Status.SUCCEEDED, outputs='"out"')
    event = NewEvent("step_completed", "s#1", '{"output":1}', 0)

    assert START.weight(StartRequest(run)) == 6 + 7
    assert SIGNAL.weight(SignalRequest("r", "s", '"payload"', None, "i", 0)) == 9
    assert INTAKE.weight(Intake([("1", "t", draft), ("2", "t", draft)])) == 18
    assert ADVANCE.weight(Advance("r", "h", 0, [event, event], finish=finish, starts=[run])) == 2 * 12 + 5 + 6
    assert CALL.weight(lambda _tx: None) == 0


async def test_a_claim_is_left_to_the_next_batch_beside_a_run_that_begins(process: Process, other: Scene) -> None:
    holder, waiting = other.holder(), other.start()
    committer, order = process.committer, list[str]()
    request = ClaimRequest(holder, ("w",), None, 10, other.now)

    with committer._writing:  # so that both wait, wherever it is that writes
        claiming = committer.submit(CLAIM, request)
        beginning = committer.submit(START, StartRequest(other.new_run(holder=holder)))
    claiming.add_done_callback(lambda _: order.append("claimed"))
    beginning.add_done_callback(lambda _: order.append("begun"))
    started, claimed = await asyncio.gather(beginning, claiming)

    assert (started.holder, [run.head.run_id for run in claimed.runs]) == (holder, [waiting])
    assert (order, process.session.begun) == (["begun", "claimed"], 2)


def test_a_claim_is_left_once_and_only_to_a_run_that_begins(scene: Scene) -> None:
    loop = asyncio.new_event_loop()
    holder = scene.holder()
    claim, queued, beginning = (
        Pending(op, unit, loop.create_future(), loop, bounded=False)
        for op, unit in (
            (CLAIM, ClaimRequest(holder, ("w",), None, 10, scene.now)),
            (START, StartRequest(scene.new_run())),
            (START, StartRequest(scene.new_run(holder=holder))),
        )
    )

    assert committers.put_off([claim, queued]) == ([claim, queued], [])
    assert committers.put_off([claim, queued, beginning]) == ([queued, beginning], [claim])
    assert committers.put_off([claim, beginning]) == ([claim, beginning], [])
    loop.close()


async def test_every_caller_gets_its_own_answer(process: Process, other: Scene) -> None:
    def call(number: int) -> int:
        if number % 3 == 0:
            raise KeyError(number)
        return number

    answers = await asyncio.gather(
        *(process.committer.submit(CALL, lambda _tx, number=number: call(number)) for number in range(50)),  # type: ignore[misc]
        return_exceptions=True,
    )

    assert [answer.args[0] if isinstance(answer, KeyError) else answer for answer in answers] == list(range(50))


async def test_units_of_a_caller_are_written_in_its_order(process: Process, other: Scene) -> None:
    holder = other.holder()
    run = other.held(holder)

    async def write(name: str) -> None:
        for _ in range(20):
            await process.committer.submit(ADVANCE, other.advance(run, holder, name))

    for _ in range(3):
        process.committer.submit(ADVANCE, other.advance(run, holder, "first", "second"))
    await asyncio.gather(write("a"), write("b"))

    types = other.types(run)
    assert types[:7] == ["run_started", *["first", "second"] * 3]
    assert sorted(types[7:]) == ["a"] * 20 + ["b"] * 20


async def test_events_are_handed_on_once_they_are_on_disk_and_those_alone(process: Process, other: Scene) -> None:
    holder = other.holder()
    run = other.held(holder)
    told: list[str] = []

    def hear(written: Sequence[Event]) -> None:
        stored = [event._replace(payload="") for event in other.backend.reader.events(run, 0, 100)]
        assert all(event._replace(payload="") in stored for event in written)
        told.extend(event.type for event in written)

    def take_back(tx: Transaction) -> None:
        tx.append_events([Event(run, 99, "taken_back", None, "{}", other.now)])
        raise KeyError

    process.on_written = hear
    process.session.commits = ["before", ValueError("no"), "after"]
    with pytest.raises(ValueError, match="no"):
        await process.committer.submit(ADVANCE, other.advance(run, holder, "never"))
    await process.committer.submit(ADVANCE, other.advance(run, holder, "first"))
    answers = await asyncio.gather(
        process.committer.submit(CALL, take_back),
        process.committer.submit(ADVANCE, other.advance(run, "somebody else", "fenced")),
        process.committer.submit(ADVANCE, other.advance(run, holder, "second", "third")),
        return_exceptions=True,
    )

    assert [type(answer) for answer in answers] == [KeyError, Fenced, type(None)]
    await wait_until_async(lambda: "third" in told)
    assert told == ["first", "second", "third"] == other.types(run)[1:]


async def test_a_caller_that_no_longer_waits_does_not_withdraw_its_unit(process: Process, other: Scene) -> None:
    runs = [other.new_run() for _ in range(3)]
    waiting = [process.committer.submit(START, StartRequest(run)) for run in runs]

    waiting[1].cancel()
    await waiting[2]

    assert [other.view(run.run_id).status for run in runs] == ["queued"] * 3


async def test_work_from_outside_is_refused_when_too_much_waits(
    database: Database, backend: Backend, other: Scene
) -> None:
    process = Process(backend, inline=database.inline, limit=3)
    process.committer.start()
    runs = [other.new_run() for _ in range(7)]
    try:
        accepted = [process.committer.submit(START, StartRequest(run), bounded=True) for run in runs[:3]]
        with pytest.raises(Overloaded) as caught:
            process.committer.submit(START, StartRequest(runs[3]), bounded=True)
        with pytest.raises(Overloaded):
            process.committer.submit_from_thread(START, StartRequest(runs[4]), bounded=True)
        accepted.append(process.committer.submit(START, StartRequest(runs[5])))
        await asyncio.gather(*accepted)
        await process.committer.submit(START, StartRequest(runs[6]), bounded=True)
    finally:
        await process.close()

    assert caught.value.retry_after > 0
    found = {run.run_id for run in other.backend.reader.list_runs(other.filter())}
    assert found == {runs[place].run_id for place in (0, 1, 2, 5, 6)}


async def test_closing_writes_what_is_waiting(process: Process, other: Scene) -> None:
    runs = [other.new_run() for _ in range(30)]
    waiting = [process.committer.submit(START, StartRequest(run)) for run in runs]

    await process.close()

    assert len(other.backend.reader.list_runs(other.filter())) == 30
    assert [answer.created for answer in await asyncio.gather(*waiting)] == [True] * 30
    with pytest.raises(WriteFailed):
        process.committer.submit(START, StartRequest(other.new_run()))


async def test_threads_without_a_loop_may_write(process: Process, other: Scene) -> None:
    runs = [other.new_run() for _ in range(60)]

    def write(run_index: int) -> Started:
        return process.committer.submit_from_thread(START, StartRequest(runs[run_index])).result(20)

    with ThreadPoolExecutor(6) as pool:
        answers = await asyncio.gather(
            *(asyncio.get_running_loop().run_in_executor(pool, write, index) for index in range(60))
        )

    assert [answer.run_id for answer in answers] == [run.run_id for run in runs]
    assert len(other.backend.reader.list_runs(other.filter())) == 60


async def test_a_thread_cannot_cancel_what_it_handed_in(process: Process, other: Scene) -> None:
    future: Future[Started] = process.committer.submit_from_thread(START, StartRequest(other.new_run()))

    assert not future.cancel()

    assert (await asyncio.wrap_future(future)).created
    assert (await process.committer.submit(START, StartRequest(other.new_run()))).created


async def test_user_code_runs_on_the_thread_that_is_there_for_it(process: Process) -> None:
    def where(_tx: Transaction) -> str:
        return threading.current_thread().name

    assert await process.committer.submit(CALL, where) == "windlass-committer"


async def test_what_is_ours_is_tried_again_until_the_database_is_back(process: Process, other: Scene) -> None:
    runs = [other.new_run() for _ in range(3)]
    process.session.commits = ["before", "before", "after"]

    answers = await asyncio.gather(*(process.committer.submit(START, StartRequest(run)) for run in runs))

    assert all(answer.created for answer in answers)
    assert len(other.backend.reader.list_runs(other.filter())) == 3
    await wait_until_async(lambda: len(process.rings) == 3)
    assert sorted(ring.run_id for ring in process.rings) == [run.run_id for run in runs]


async def test_work_from_outside_hears_at_once_that_the_database_is_away(process: Process, other: Scene) -> None:
    outside, ours = other.new_run(), other.new_run()
    process.session.commits = ["before"]

    answers = await asyncio.gather(
        process.committer.submit(START, StartRequest(outside), bounded=True),
        process.committer.submit(START, StartRequest(ours)),
        return_exceptions=True,
    )

    assert isinstance(answers[0], WriteFailed)
    assert answers[1] == Started(ours.run_id, True, None)
    assert [run.run_id for run in other.backend.reader.list_runs(other.filter())] == [ours.run_id]


async def test_work_from_outside_behind_a_commit_in_doubt_hears_that_the_database_is_away(
    backend: Backend, other: Scene
) -> None:
    process = Process(backend, inline=False)
    process.session.commits, process.session.unreachable = ["after"], 1_000_000
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    process.session.on_ask = lambda: loop.call_soon_threadsafe(asked.set)  # type: ignore[assignment]
    doubtful, outside, ours = (other.new_run() for _ in range(3))
    process.committer.start()
    first = process.committer.submit(START, StartRequest(doubtful), bounded=True)
    await asked.wait()
    late = process.committer.submit(START, StartRequest(outside), bounded=True)
    own = process.committer.submit(START, StartRequest(ours))

    with pytest.raises(WriteFailed, match="not available"):
        await late
    assert not first.done()
    assert not own.done()
    process.session.unreachable = 0
    assert await first == Started(doubtful.run_id, True, None)
    assert await own == Started(ours.run_id, True, None)
    assert len(other.backend.reader.list_runs(other.filter())) == 2
    await process.close()


async def test_who_stops_hears_what_is_known_of_a_commit_in_doubt(backend: Backend, other: Scene) -> None:
    process = Process(backend, inline=False)
    process.session.commits, process.session.unreachable = ["after"], 1_000_000
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    process.session.on_ask = lambda: loop.call_soon_threadsafe(asked.set)  # type: ignore[assignment]
    process.committer.start()
    doubtful = process.committer.submit(START, StartRequest(other.new_run()))
    await asked.wait()

    process.committer.hurry()

    with pytest.raises(OutcomeUnknown):
        await doubtful
    process.session.commits, process.session.unreachable = ["before"], 0
    with pytest.raises(WriteFailed):
        await process.committer.submit(START, StartRequest(other.new_run()))
    last = other.new_run()
    assert await process.committer.submit(START, StartRequest(last)) == Started(last.run_id, True, None)
    await process.close()


async def test_closing_does_not_wait_for_a_database_that_stays_away(process: Process, other: Scene) -> None:
    process.session.commits = ["before"] * 1000
    waiting = process.committer.submit(START, StartRequest(other.new_run()))
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    process.session.on_ask = lambda: loop.call_soon_threadsafe(gone.set)  # type: ignore[assignment]
    await gone.wait()

    await process.close()

    with pytest.raises(WriteFailed):
        await waiting
    assert other.backend.reader.list_runs(other.filter()) == []


async def test_two_committers_of_one_process_do_not_mix_their_answers(database: Database, other: Scene) -> None:
    backend = database.open()
    processes = [Process(backend, inline=database.inline) for _ in range(2)]
    for process in processes:
        process.committer.start()
    try:
        runs = [[other.new_run() for _ in range(40)] for _ in processes]
        answers = await asyncio.gather(
            *(
                process.committer.submit(START, StartRequest(run))
                for process, own in zip(processes, runs, strict=True)
                for run in own
            )
        )
        assert [answer.run_id for answer in answers] == [run.run_id for own in runs for run in own]
    finally:
        for process in processes:
            await process.close()
        backend.close()


async def test_a_fault_of_the_writer_is_answered_and_the_next_batch_is_written(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    committer = Committer(scene.backend.write_session())
    write = committer._writer.write
    faults: list[BaseException] = [MemoryError("odd"), SystemExit(3)]

    def faulty(batch: Sequence[Pending]) -> Any:
        if faults:
            raise faults.pop()
        return write(batch)

    monkeypatch.setattr(committer._writer, "write", faulty)
    committer.start()
    for _ in range(2):
        with pytest.raises(WriteFailed, match="the writer failed"):
            await committer.submit(CALL, lambda tx: len(tx.rings))
    assert await committer.submit(CALL, lambda tx: len(tx.rings)) == 0
    committer.close()
