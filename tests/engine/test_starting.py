"""Starting runs: once per key, later, in order of importance, in one's own transaction, before anybody knows how."""

import asyncio
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.engine.lab import IN_MEMORY, Lab, add_note, parked, status_of
from tests.support.waiting import wait_until_async
from windlass import (
    Engine,
    NotSerializable,
    Registry,
    RunConflict,
    RunFailed,
    UnknownRun,
    UnknownWorkflow,
    signal,
    step,
    workflow,
)
from windlass.engine.ports import Transaction
from windlass.engine.types import RunFilter
from windlass.kernel.clock import from_iso, to_datetime
from windlass.kernel.errors import Invalid

order: list[object] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    order.clear()


@step
async def note(what: object) -> object:
    order.append(what)
    return what


@workflow
async def noting(what: int) -> object:
    return await note(what)


@workflow
async def waiting() -> object:
    return await signal("go")


class Refused(Exception):
    pass


# once per key
async def test_a_repeated_start_with_the_same_key_gets_the_first_run(engine: Engine) -> None:
    first = await engine.start_run(noting, 1, idempotency_key="order-1")
    again = await engine.start_run(noting, 1, idempotency_key="order-1")
    await first.result(timeout=10)
    later = await engine.start_run(noting, 1, idempotency_key="order-1")

    assert {first.run_id, again.run_id, later.run_id} == {first.run_id}
    assert (first.created, again.created, later.created) == (True, False, False)
    assert await again.result(timeout=10) == 1
    assert order == [1]


async def test_starts_from_two_processes_at_once_make_one_run(lab: Lab) -> None:
    engines = [await lab.engine(), await lab.engine()]

    handles = await asyncio.gather(
        *(engines[number % 2].start_run(noting, 5, idempotency_key=f"key-{number // 10}") for number in range(60))
    )

    for key in range(6):
        mine = handles[10 * key : 10 * key + 10]
        assert len({handle.run_id for handle in mine}) == 1
        assert [handle.created for handle in mine].count(True) == 1
    for handle in handles:
        assert await handle.result(timeout=10) == 5
    assert order == [5] * 6


async def test_a_key_used_for_another_input_is_a_conflict(engine: Engine) -> None:
    first = await engine.start_run(noting, 1, idempotency_key="k")

    with pytest.raises(RunConflict, match="idempotency key 'k' was used with another request") as caught:
        await engine.start_run(noting, 2, idempotency_key="k")
    assert caught.value.data == {"run_id": first.run_id}


async def test_a_key_belongs_to_one_workflow_of_one_tenant(engine: Engine) -> None:
    @workflow
    async def other(what: int) -> object:
        return await note(what)

    handles = [
        await engine.start_run(noting, 1, idempotency_key="k"),
        await engine.start_run(other, 1, idempotency_key="k"),
        await engine.start_run(noting, 1, idempotency_key="k", tenant_id="acme"),
    ]

    assert len({handle.run_id for handle in handles}) == 3
    assert all(handle.created for handle in handles)


async def test_a_key_is_forgotten_when_its_time_is_up(engine: Engine, lab: Lab) -> None:
    first = await engine.start_run(noting, 1, idempotency_key="k", key_seconds=3600)
    lab.clock.move(minutes=59)
    assert not (await engine.start_run(noting, 1, idempotency_key="k", key_seconds=3600)).created
    lab.clock.move(minutes=2)

    again = await engine.start_run(noting, 2, idempotency_key="k", key_seconds=3600)

    assert again.created
    assert again.run_id != first.run_id


@IN_MEMORY
@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "nul\0"])
async def test_a_key_that_is_none_is_refused(engine: Engine, key: str) -> None:
    with pytest.raises(Invalid, match="idempotency_key is 1 to 255 printable characters"):
        await engine.start_run(noting, 1, idempotency_key=key)


async def test_an_id_of_the_caller_s_own_is_taken_once(engine: Engine) -> None:
    handle = await engine.start_run(noting, 1, run_id="mine")
    assert handle.run_id == "mine"
    with pytest.raises(RunConflict, match="mine"):
        await engine.start_run(noting, 2, run_id="mine")

    assert await handle.result(timeout=10) == 1
    assert order == [1]


# later
async def test_a_delayed_run_starts_when_its_time_has_come(engine: Engine, lab: Lab) -> None:
    due = to_datetime(lab.clock.now()) + timedelta(hours=1)
    delayed = await engine.start_run(noting, 1, delay=3600)
    at = await engine.start_run(noting, 2, at=due)
    await (await engine.start_run(noting, 0)).result(timeout=10)
    view = await delayed.status()
    assert (view.status, view.started_at, view.holder) == ("queued", None, None)
    assert view.wake_at is not None
    assert abs(from_iso(view.wake_at) - lab.clock.now() - 3600e6) < 60e6
    assert order == [0]

    lab.pass_time(hours=1)

    await delayed.result(timeout=10)
    await at.result(timeout=10)
    assert sorted(order) == [0, 1, 2]  # type: ignore[type-var]


async def test_a_time_that_is_over_starts_at_once(engine: Engine) -> None:
    handle = await engine.start_run(noting, 1, at=datetime(2020, 1, 1, tzinfo=UTC))

    assert await handle.result(timeout=10) == 1


async def test_times_that_make_no_sense_are_refused(engine: Engine) -> None:
    for message, when in (
        ("give delay or at, not both", {"delay": 1, "at": datetime.now(UTC)}),
        ("at is a date-time with a time zone", {"at": datetime(2030, 1, 1)}),  # noqa: DTZ001  the point of the test
        ("at is a date-time with a time zone", {"at": "tomorrow"}),
        *(("delay must be between 0 and", {"delay": delay}) for delay in (-1, math.nan, math.inf, 1e13, True, "1")),
    ):
        with pytest.raises(Invalid, match=message):
            await engine.start_run(noting, 1, **when)  # type: ignore[arg-type]
    assert await engine.list_runs() == []


@IN_MEMORY
@pytest.mark.parametrize(
    "field,value",
    [
        ("priority", 0.5),
        ("priority", 2**31),
        ("priority", True),
        ("priority", "high"),
        *(("key_seconds", value) for value in (-1, math.nan, math.inf, 1e13, "1")),
    ],
)
async def test_numbers_that_make_no_sense_are_refused_by_name(engine: Engine, field: str, value: object) -> None:
    with pytest.raises(Invalid, match=f"{field} must be") as caught:
        await engine.start_run(noting, 1, idempotency_key="k", **{field: value})  # type: ignore[arg-type]

    assert caught.value.data == {"field": field}
    assert await engine.list_runs() == []


@pytest.mark.parametrize("priority", [0.5, 2**31, "high"])
def test_a_workflow_s_priority_is_a_whole_number(priority: Any) -> None:
    with pytest.raises(ValueError, match="workflow odd: priority must be"):
        workflow(name="odd", priority=priority)(noting.fn)


# first things first
async def test_smaller_priorities_go_first_and_equals_in_order(lab: Lab) -> None:
    watching = await lab.engine(worker=False)
    handles = [
        await watching.start_run(noting, number, priority=priority)
        for number, priority in enumerate([5, 0, -5, 0, 5, -5])
    ]
    await lab.engine(concurrency=1)
    for handle in handles:
        await handle.result(timeout=10)

    assert order == [2, 5, 1, 3, 0, 4]


async def test_woken_runs_go_before_new_ones_of_their_priority(lab: Lab) -> None:
    @workflow
    async def resumed(what: int) -> object:
        await signal("go")
        return await note(what)

    first = await lab.engine()
    old = await first.start_run(resumed, 1)
    await parked(old)
    await lab.stop(first)
    watching = await lab.engine(worker=False)
    new = await watching.start_run(noting, 2)
    await watching.signal(old.run_id, "go")
    await lab.engine(concurrency=1)
    await watching.handle(new.run_id).result(timeout=10)

    assert order == [1, 2]


# in a transaction of one's own
async def test_a_start_in_one_s_own_transaction_happens_with_it(engine: Engine, lab: Lab) -> None:
    def shop(tx: Transaction) -> str:
        add_note(tx, "order")
        return engine.start_run_in(tx, noting, 7, idempotency_key="k")

    run_id = await engine.transact(shop)

    assert await engine.handle(run_id).result(timeout=10) == 7
    assert lab.notes() == ["order"]


async def test_a_start_in_a_transaction_that_is_rolled_back_leaves_nothing(engine: Engine, lab: Lab) -> None:
    listener = await engine.start_run(waiting)
    await parked(listener)

    def shop(tx: Transaction) -> None:
        add_note(tx, "order")
        engine.start_run_in(tx, noting, 7, run_id="gone")
        engine.start_run_in(tx, noting, 7, idempotency_key="k")
        engine.signal_in(tx, listener.run_id, "go", 1)
        raise Refused

    with pytest.raises(Refused):
        await engine.transact(shop)

    assert lab.notes() == []
    with pytest.raises(UnknownRun):
        await engine.get_run("gone")
    assert (await engine.start_run(noting, 8, idempotency_key="k")).created
    assert (await listener.status()).wait_reason == "signal:go"
    await listener.signal("go", 2)
    assert await listener.result(timeout=10) == 2


async def test_a_refused_start_is_heard_inside_the_transaction(engine: Engine, lab: Lab) -> None:
    await engine.start_run(noting, 1, idempotency_key="k")

    def shop(tx: Transaction) -> str:
        add_note(tx, "order")
        try:
            return engine.start_run_in(tx, noting, 2, idempotency_key="k")
        except RunConflict:
            return "known already"

    assert await engine.transact(shop) == "known already"
    assert lab.notes() == ["order"]


# before anybody knows how
async def test_a_run_of_a_workflow_nobody_knows_waits_for_one_who_does(lab: Lab) -> None:
    ignorant = await lab.engine(registry=Registry())
    handle = await ignorant.start_run("future.work", number=3)
    known = Registry()

    @workflow(name="known", registry=known)
    async def other() -> str:
        return "ok"

    second = await lab.engine(registry=known)
    assert await (await second.start_run(other)).result(timeout=10) == "ok"
    assert (await handle.status()).status == "queued"

    @workflow(name="future.work", registry=known)
    async def work(number: int) -> int:
        return 2 * number

    assert await handle.result(timeout=10) == 6


async def test_input_given_by_name_is_checked_when_the_run_begins(lab: Lab) -> None:
    ignorant = await lab.engine(registry=Registry(), worker=False)
    handle = await ignorant.start_run(noting.name, what="seven")
    await lab.engine()

    with pytest.raises(RunFailed, match="input of noting, argument what"):
        await handle.result(timeout=10)


async def test_what_cannot_be_known_is_refused(engine: Engine) -> None:
    stranger = Registry()

    @workflow(name="stranger", registry=stranger)
    async def unknown(number: int) -> int:
        return number

    with pytest.raises(UnknownWorkflow, match="'stranger' is not registered with this engine"):
        await engine.start_run(unknown, 1)
    with pytest.raises(UnknownWorkflow, match="no workflow 'stranger' is registered here: give its input by name"):
        await engine.start_run("stranger", 1)
    with pytest.raises(Invalid, match="is no name"):
        await engine.start_run("no such name!")


async def test_a_workflow_is_an_async_function_and_its_name_is_taken_once() -> None:
    registry = Registry()

    def plain() -> None: ...

    async def one() -> None: ...

    async def two() -> None: ...

    with pytest.raises(TypeError, match=r"workflow .*plain: write it as 'async def'"):
        workflow(registry=registry)(plain)  # type: ignore[arg-type]
    workflow(name="same", registry=registry)(one)
    with pytest.raises(ValueError, match="two workflows are named 'same'"):
        workflow(name="same", registry=registry)(two)


async def test_a_refused_input_starts_nothing(engine: Engine) -> None:
    with pytest.raises(NotSerializable, match="input of noting, argument what"):
        await engine.start_run(noting, "seven")
    with pytest.raises(NotSerializable, match="input of noting: missing a required argument: 'what'"):
        await engine.start_run(noting)
    with pytest.raises(NotSerializable, match=r"input of noting: .*unexpected keyword argument 'which'"):
        await engine.start_run(noting, 1, which=2)

    assert await engine.list_runs() == []


async def test_runs_are_listed_newest_first_and_by_what_they_are(engine: Engine) -> None:
    handles = [await engine.start_run(noting, number) for number in range(3)]
    for handle in handles:
        await handle.result(timeout=10)
    idle = await engine.start_run(waiting, queue="side")
    await parked(idle)

    assert [view.run_id for view in await engine.list_runs(RunFilter(limit=2))] == [idle.run_id, handles[2].run_id]
    assert {view.run_id for view in await engine.list_runs(RunFilter(status=("succeeded",)))} == {
        handle.run_id for handle in handles
    }
    assert [view.run_id for view in await engine.list_runs(RunFilter(queue="side"))] == [idle.run_id]
    assert [view.run_id for view in await engine.list_runs(RunFilter(name="waiting"))] == [idle.run_id]
    await idle.cancel()
    await status_of(idle, "cancelled")
    await wait_until_async(lambda: not engine.worker.runs)
