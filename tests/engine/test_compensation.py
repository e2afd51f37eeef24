"""Sagas: a run that fails undoes the steps that had succeeded, last first, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from tests.engine.lab import Lab, add_note, journal, status_of
from tests.support.waiting import wait_until_async
from windlass import Engine, Fatal, RunConflict, RunFailed, gather, signal, step, workflow
from windlass.engine.ports import Transaction
from windlass.engine.types import RunFilter
from windlass.kernel.errors import WindlassError
from windlass.storage.explain import explain_run

done: list[str] = []
broken: set[str] = set()
doors: dict[str, asyncio.Event] = {}


@pytest.fixture(autouse=True)
def _nothing_done() -> None:
    done.clear()
    broken.clear()
    doors.clear()


class Booking(BaseModel):
    number: int


async def cancel_flight(booking: Booking, seat: str = "?") -> None:
    assert isinstance(booking, Booking)
    done.append(f"no flight {booking.number} {seat}")
    if "flight" in broken:
        raise Fatal("the airline does not answer")


@step(compensate=cancel_flight)
async def flight(traveller: str, seat: str = "14A") -> Booking:
    done.append(f"flight {traveller}")
    return Booking(number=len(done))


@step(retries=3, backoff=0.01)
def cancel_hotel(number: int, *, nights: int) -> None:
    done.append(f"no hotel {number} {nights}")
    if done.count(f"no hotel {number} {nights}") < 3:
        raise ConnectionError("try again")


@step(compensate=cancel_hotel)
def hotel(nights: int) -> int:
    done.append(f"hotel {nights}")
    return len(done)


@step(transactional=True)
def unwrite(tx: Transaction, text: str) -> None:
    add_note(tx, f"not {text}")


@step(transactional=True, compensate=unwrite)
def write(tx: Transaction, text: str) -> str:
    add_note(tx, text)
    return text.upper()


async def _hold(_result: str, name: str) -> None:
    door = doors.setdefault(name, asyncio.Event())
    done.append(f"undoing {name}")
    await door.wait()
    done.append(f"undone {name}")


@step(compensate=_hold)
async def held(name: str) -> str:
    return name


@step
async def pay(amount: int) -> int:
    if amount in {0, len(broken)}:
        raise Fatal("no money")
    return amount


@workflow(name="compensation.trip")
async def trip(amount: int) -> str:
    await flight("Ann")
    await write("note")
    await hotel(nights=2)
    await pay(amount)
    return "booked"


async def test_what_had_succeeded_is_undone_last_first(lab: Lab, engine: Engine) -> None:
    good = await engine.start_run(trip, 7)
    assert await good.result() == "booked"
    assert lab.notes() == ["note"]
    done.clear()

    bad = await engine.start_run(trip, 0)
    with pytest.raises(RunFailed, match="no money"):
        await bad.result()

    assert done == ["flight Ann", "hotel 2", *["no hotel 2 2"] * 3, "no flight 1 14A"]
    assert lab.notes() == ["note", "note", "not NOTE"]
    view = await bad.status()
    assert view.error is not None
    assert (view.error["type"], view.error["step"], view.error["compensated"]) == ("StepFailed", "pay#1", True)
    paths = [event.step_id for event in await journal(engine, bad) if event.type == "step_completed"]
    assert paths[3:] == [f"compensation/{name}#1" for name in ("cancel_hotel", "unwrite", "cancel_flight")]
    with pytest.raises(RunConflict, match="was undone"):
        await bad.retry()


async def test_one_that_fails_leaves_the_others_and_is_left_to_a_person(lab: Lab, engine: Engine) -> None:
    broken.add("flight")

    @step
    async def undo_nothing(_result: None) -> None:
        done.append("nothing to undo")

    @step(compensate=undo_nothing)
    async def nothing() -> None:
        return None

    @workflow(name="compensation.halfway")
    async def halfway() -> None:
        await nothing()
        await flight("Bob", seat="1C")
        await write("x")
        raise RuntimeError("no more")

    handle = await engine.start_run(halfway)
    with pytest.raises(
        RunFailed, match=r"CompensationFailed: a person must see to flight#1 \(.*airline.*\); .* RuntimeError: no more"
    ):
        await handle.result()

    assert done == ["flight Bob", "no flight 1 1C", "nothing to undo"]
    assert lab.notes() == ["x", "not X"]
    [listed] = await engine.list_runs(RunFilter(error_class="CompensationFailed"))
    assert listed.run_id == handle.run_id
    assert listed.error is not None
    assert listed.error["open"] == ["flight#1"]
    with pytest.raises(RunConflict, match="was undone"):
        await handle.retry()


@workflow(name="compensation.beside")
async def beside() -> None:
    async def deep() -> list[Any]:
        await held("first")
        return await gather(held("second"), held("third"))

    await gather(deep(), _fails_when_told())


async def _fails_when_told() -> None:
    await signal("fail")
    await pay(0)


async def test_a_crash_at_it_goes_on_where_it_was(lab: Lab) -> None:
    first = await lab.engine()
    handle = await first.start_run(beside)

    async def three() -> bool:
        return sum(event.type == "step_completed" for event in await journal(first, handle)) == 3

    await wait_until_async(three, what="three steps")
    order = [event.step_id for event in await journal(first, handle) if event.type == "step_completed"]
    await handle.signal("fail")
    names = ["third", "second", "first"] if str(order[-1]).startswith("g1.0/g1.1/") else ["second", "third", "first"]
    for at, name in enumerate(names):
        await wait_until_async(lambda name=name: _is_done(f"undoing {name}"), what=name)
        told = await explain_run(first, handle.run_id) if lab.database.kind != "memory" else None
        assert told is None or (told.reason, told.detail) == ("compensating", "running"), told
        await lab.crash(first)
        first = await lab.engine()
        doors[name].set()
        await wait_until_async(lambda name=name: _is_done(f"undone {name}"), what=name)
        assert at < 2 or await status_of(first.handle(handle.run_id), "failed")

    assert [text for text in done if text.startswith("undone")] == [f"undone {name}" for name in names]


async def _is_done(text: str) -> bool:
    return text in done


async def test_a_run_that_is_cancelled_undoes_nothing(lab: Lab, engine: Engine) -> None:
    @workflow(name="compensation.cancelled")
    async def waiting() -> None:
        await write("kept")
        await signal("never")

    handle = await engine.start_run(waiting)
    await wait_until_async(lambda: _written(lab), what="the note")
    await handle.cancel()
    await status_of(handle, "cancelled")

    assert lab.notes() == ["kept"]


async def _written(lab: Lab) -> bool:
    return lab.notes() == ["kept"]


async def test_a_failure_with_nothing_to_undo_can_be_retried(engine: Engine) -> None:
    @step(compensate=cancel_flight)
    async def first(seat: str) -> Booking:
        if "first" in broken:
            raise Fatal("not yet")
        return Booking(number=len(seat))

    @workflow(name="compensation.retried")
    async def retried() -> int:
        booking = await first("1")
        return booking.number + await pay(5)

    broken.add("first")
    handle = await engine.start_run(retried)
    with pytest.raises(RunFailed, match="not yet"):
        await handle.result()
    broken.clear()
    await handle.retry()

    assert await handle.result() == 6
    assert done == []


def _no_argument() -> None: ...


def _another(_result: int, price: int) -> None: ...


@pytest.mark.parametrize("undo", [_no_argument, _another])
def test_what_cannot_be_called_is_refused(undo: Any) -> None:
    with pytest.raises(TypeError, match=r"step buy: .* cannot undo it: it takes the result, .* any of item"):

        @step(compensate=undo)
        async def buy(item: str) -> int:
            return len(item)


def test_its_error_has_a_code() -> None:
    from windlass import CompensationFailed

    assert issubclass(CompensationFailed, WindlassError)
    assert CompensationFailed.code == "COMPENSATION_FAILED"
