"""Every slot has one outcome, whatever happens on the way, and it is written down."""

from typing import Any

import pytest

from tests.contexts.schedules.stage import (
    ANN,
    CHIEF,
    Stage,
    engine_of,
    fire_count,
    hourly,
    one_tick_is_open,
    open_ticks,
)
from tests.support.waiting import wait_until_async
from windlass import Registry, workflow
from windlass.contexts.schedules import runs
from windlass.contexts.schedules.api import Aim, Order, UnknownTarget
from windlass.engine.ports import Transaction
from windlass.engine.types import NewRun, RunFilter
from windlass.kernel.errors import Unavailable


async def test_a_slot_fires_once_and_has_its_run(stage: Stage) -> None:
    schedules = await stage.process()
    made, firing = await schedules.create(ANN, hourly(inputs={"name": "Eve"}))

    assert firing
    assert (await schedules.get(ANN, made.id))["next_run_at"] == "2030-06-01T11:00:00.000000Z"
    found = await stage.come(schedules, made.id)
    [fire] = await stage.fires(schedules, made.id)

    assert found["next_run_at"] == "2030-06-01T12:00:00.000000Z"
    assert (found["last_status"], found["last_run_at"][:16]) == ("queued", "2030-06-01T11:00")
    assert (fire["kind"], fire["status"], fire["slot"]) == ("slot", "queued", "2030-06-01T11:00:00.000000Z")
    assert len(fire["run_id"]) == 32
    assert await engine_of(schedules).result(fire["run_id"], timeout=10) == "hello Eve"
    view = await engine_of(schedules).get_run(fire["run_id"])
    assert (view.owner, view.attributes["schedule_id"]) == ("ann", made.id)
    await one_tick_is_open(schedules)


async def test_slots_that_came_while_nothing_fired_are_missed_or_folded(stage: Stage) -> None:
    schedules = await stage.process()
    made, _ = await schedules.create(ANN, hourly(cron="*/10 * * * *", misfire_grace_sec=1800))
    await stage.lab.stop(engine_of(schedules))
    stage.set_clock("2030-06-01T13:04:00Z")

    again = await stage.process()
    await stage.settled(again, made.id)
    missed, folded = await stage.fires(again, made.id)

    assert (missed["status"], missed["slots"], missed["run_id"]) == ("missed", 12, None)
    assert (missed["first_slot"][11:16], missed["slot"][11:16]) == ("10:40", "12:30")
    assert (folded["status"], folded["slots"]) == ("queued", 3)
    assert (folded["first_slot"][11:16], folded["slot"][11:16]) == ("12:40", "13:00")


async def test_without_coalesce_every_slot_within_the_grace_fires(stage: Stage) -> None:
    schedules = await stage.process()
    given = hourly(cron="*/10 * * * *", misfire_grace_sec=1800, coalesce=False, concurrency_mode="queue")
    made, _ = await schedules.create(ANN, given)
    await stage.lab.stop(engine_of(schedules))
    stage.set_clock("2030-06-01T13:04:00Z")

    again = await stage.process()
    await stage.settled(again, made.id)
    fires = await stage.fires(again, made.id)

    assert [(fire["status"], fire["slot"][11:16]) for fire in fires] == [
        ("missed", "12:30"), ("queued", "12:40"), ("queued", "12:50"), ("queued", "13:00"),
    ]  # fmt: skip


async def test_a_long_outage_of_a_minutes_schedule_is_dealt_with_in_one_go(stage: Stage) -> None:
    schedules = await stage.process()
    made, _ = await schedules.create(ANN, hourly(cron="* * * * *", misfire_grace_sec=0))
    await stage.lab.stop(engine_of(schedules))
    stage.set_clock("2031-06-01T10:30:30Z")

    again = await stage.process()
    await stage.settled(again, made.id)
    [missed] = await stage.fires(again, made.id)

    assert (missed["status"], missed["slots"], missed["slot"]) == ("missed", 1000, "2031-06-01T10:30:00.000000Z")
    assert "1000 slots or more" in missed["reason"]


async def test_skip_lets_one_run_be_open(stage: Stage) -> None:
    schedules = await stage.process()
    made, _ = await schedules.create(ANN, hourly(workflow="linger"))

    await stage.come(schedules, made.id)
    skipped = await stage.come(schedules, made.id)
    first, second = await stage.fires(schedules, made.id)
    await engine_of(schedules).signal(first["run_id"], "go", "on")
    await engine_of(schedules).result(first["run_id"], timeout=10)
    await stage.come(schedules, made.id)

    assert skipped["last_status"] == "skipped_overlap"
    assert (second["run_id"], second["reason"]) == (None, "the run before has not ended")
    assert [status for _, status in await stage.told(schedules, made.id)] == ["queued", "skipped_overlap", "queued"]


async def test_queue_lets_three_be_open_and_the_rest_wait_in_order(stage: Stage) -> None:
    schedules = await stage.process()
    made, _ = await schedules.create(ANN, hourly(workflow="linger", concurrency_mode="queue"))
    for _ in range(5):
        await stage.come(schedules, made.id)
    assert (await schedules.get(ANN, made.id))["last_status"] == "pending"
    assert [status for _, status in await stage.told(schedules, made.id)] == ["queued"] * 3 + ["pending"] * 2

    first = (await stage.fires(schedules, made.id))[0]
    await engine_of(schedules).signal(first["run_id"], "go", "on")
    await engine_of(schedules).result(first["run_id"], timeout=10)

    async def moved() -> bool:
        stage.pass_time(seconds=1)
        return [status for _, status in await stage.told(schedules, made.id)] == ["queued"] * 4 + ["pending"]

    await wait_until_async(moved, timeout=30)
    fourth = (await stage.fires(schedules, made.id))[3]
    assert (await engine_of(schedules).get_run(fourth["run_id"])).attributes["slot"] == fourth["slot"]


async def test_a_paused_schedule_fires_nothing_and_begins_anew(stage: Stage) -> None:
    schedules = await stage.process()
    made, _ = await schedules.create(ANN, hourly())
    await stage.come(schedules, made.id)

    await schedules.change(ANN, made.id, {"enabled": False})
    paused = await schedules.get(ANN, made.id)
    stage.pass_time(hours=5)
    await schedules.change(ANN, made.id, {"enabled": True})
    resumed = await stage.come(schedules, made.id)

    assert (paused["next_run_at"], await stage.told(schedules, made.id)) == (None, [("slot", "queued")] * 2)
    assert resumed["next_run_at"][11:16] == "18:00"
    await one_tick_is_open(schedules)


async def test_a_slot_that_came_before_a_change_is_dealt_with_as_it_was(stage: Stage) -> None:
    idle = await stage.process(enabled=True, worker=False)
    made, _ = await idle.create(ANN, hourly())
    stage.set_clock("2030-06-01T11:00:02Z")

    await idle.change(ANN, made.id, {"cron": "30 * * * *"})
    [fire] = await stage.fires(idle, made.id)
    found = await idle.get(ANN, made.id)

    assert (fire["status"], fire["slot"][11:16]) == ("queued", "11:00")
    assert found["next_run_at"][11:16] == "11:30"
    assert len(await open_ticks(idle)) == 1


async def test_a_change_of_other_fields_leaves_the_next_slot_alone(stage: Stage) -> None:
    schedules = await stage.process()
    made, _ = await schedules.create(ANN, hourly())
    before = await open_ticks(schedules)

    await schedules.change(ANN, made.id, {"inputs": {"name": "Zoe"}, "name": "greeting"})
    await stage.come(schedules, made.id)
    [fire] = await stage.fires(schedules, made.id)

    assert before != await open_ticks(schedules)
    assert await engine_of(schedules).result(fire["run_id"], timeout=10) == "hello Zoe"


async def test_nothing_fires_where_the_scheduler_is_off(stage: Stage) -> None:
    off = await stage.process(enabled=False)
    made, firing = await off.create(ANN, hourly(misfire_grace_sec=7200))
    stage.set_clock("2030-06-01T12:10:00Z")
    view = await off.get(ANN, made.id)

    assert (firing, view["firing"], await stage.fires(off, made.id)) == (False, False, [])

    on = await stage.process()
    await stage.settled(on, made.id)
    assert [(fire["status"], fire["slots"]) for fire in await stage.fires(on, made.id)] == [("queued", 2)]


async def test_a_change_where_the_scheduler_is_off_starts_nothing(stage: Stage) -> None:
    off = await stage.process(enabled=False)
    made, _ = await off.create(ANN, hourly())
    stage.set_clock("2030-06-01T11:00:02Z")

    await off.change(ANN, made.id, {"enabled": False})
    [fire] = await stage.fires(off, made.id)

    assert (fire["status"], fire["reason"], fire["run_id"]) == ("missed", "the scheduler is off", None)


async def test_require_online_skips_when_nobody_knows_the_code(stage: Stage) -> None:
    schedules = await stage.process()
    made, _ = await schedules.create(ANN, hourly(require_online=True))
    await stage.come(schedules, made.id)

    def forget(tx: Transaction) -> None:
        tx.execute("UPDATE workflow_leases SET workflows = 'schedules.tick'")

    stage.lab.write(forget)
    found = await stage.come(schedules, made.id)

    assert found["last_status"] == "skipped_offline"
    assert [status for _, status in await stage.told(schedules, made.id)] == ["queued", "skipped_offline"]


async def test_a_schedule_starts_the_version_that_new_runs_get_here_or_where_the_code_is(stage: Stage) -> None:
    others = Registry()
    for version in ("2", "3"):

        @workflow(name="greet", version=version, registry=others)
        async def greet(version: str = version) -> str:
            return version

    stage.known.add(others.get("greet", "2"))
    here = await stage.process()
    stage.known = Registry()
    made, _ = await here.create(ANN, hourly())
    await stage.come(here, made.id)
    engine = await stage.lab.engine(registry=others)
    await stage.lab.stop(engine_of(here))
    elsewhere = await stage.process()
    await stage.come(elsewhere, made.id)

    first, second = await stage.fires(elsewhere, made.id)
    assert [await engine.result(fire["run_id"], 20) for fire in (first, second)] == ["2", "3"]


class Saved:
    """Stands in for the context of saved workflows: it knows number 7, until it is told to refuse."""

    def __init__(self) -> None:
        self.trouble: Exception | None = None

    def check(self, connection: Any, aim: Aim) -> None:
        if aim.workflow_id != 7:
            raise UnknownTarget("no saved workflow", field="workflow_id")

    def online(self, connection: Any, aim: Aim) -> bool:
        return True

    def start_in(self, tx: Transaction, order: Order) -> str:
        if self.trouble is not None:
            raise self.trouble
        runs.start(tx, NewRun(order.run_id, "greet", "{}", 0))
        return order.run_id


@pytest.mark.parametrize("trouble", [UnknownTarget("it was deleted"), Unavailable("away"), RuntimeError("a fault")])
async def test_a_target_that_cannot_be_started_is_an_error_and_the_next_slot_comes(
    stage: Stage, trouble: Exception
) -> None:
    saved = Saved()
    schedules = await stage.process(saved=saved)
    made, _ = await schedules.create(ANN, {"workflow_id": 7, "cron": "0 * * * *", "misfire_grace_sec": 3600})
    saved.trouble = trouble
    stage.set_clock("2030-06-01T11:00:01Z")

    async def settled() -> bool:
        stage.pass_time(seconds=5)  # what may pass is tried again
        return bool(await stage.fires(schedules, made.id))

    await wait_until_async(settled, timeout=30)
    [fire] = await stage.fires(schedules, made.id)
    saved.trouble = None
    await stage.come(schedules, made.id)

    assert (fire["status"], fire["run_id"]) == ("error", None)
    assert str(trouble) in fire["reason"]
    assert [status for _, status in await stage.told(schedules, made.id)] == ["error", "queued"]


async def test_run_now_is_once_per_key_and_beside_the_slots(stage: Stage) -> None:
    schedules = await stage.process()
    made, _ = await schedules.create(ANN, hourly(enabled=False))

    first = await schedules.run_now(ANN, made.id, "key")
    again = await schedules.run_now(ANN, made.id, "key")
    other = await schedules.run_now(ANN, made.id)

    assert first == again != other
    assert await engine_of(schedules).result(first, timeout=10) == "hello you"
    assert await stage.told(schedules, made.id) == [("run_now", "queued")] * 2
    assert (await schedules.get(ANN, made.id))["last_status"] == "queued"


async def test_two_processes_fire_a_slot_once(stage: Stage) -> None:
    one, two = await stage.process(), await stage.process()
    made, _ = await one.create(ANN, hourly(concurrency_mode="queue"))

    for _ in range(6):
        await stage.come(one, made.id)
    fires = await stage.fires(two, made.id)

    assert [fire["slot"][11:16] for fire in fires] == ["11:00", "12:00", "13:00", "14:00", "15:00", "16:00"]
    assert len({fire["run_id"] for fire in fires}) == 6


async def test_a_slot_survives_the_death_of_its_process(stage: Stage) -> None:
    one = await stage.process()
    made, _ = await one.create(ANN, hourly())
    stage.lab.freeze(engine_of(one))
    stage.set_clock("2030-06-01T11:00:00Z")
    await stage.lab.crash(engine_of(one))

    two = await stage.process()
    await stage.settled(two, made.id)

    assert [fire["slot"][11:16] for fire in await stage.fires(two, made.id)] == ["11:00"]


async def test_a_tick_that_somebody_cancelled_is_put_back(stage: Stage) -> None:
    schedules = await stage.process()
    made, _ = await schedules.create(ANN, hourly())
    [tick] = await open_ticks(schedules)
    await engine_of(schedules).control(tick, "cancel")

    assert (await schedules.rescan(CHIEF))[:2] == (1, 1)
    assert (await schedules.rescan(CHIEF))[:2] == (1, 0)
    await stage.come(schedules, made.id)

    assert await stage.told(schedules, made.id) == [("slot", "queued")]


async def test_a_deleted_schedule_takes_its_history_along(stage: Stage) -> None:
    schedules = await stage.process()
    made, _ = await schedules.create(ANN, hourly())
    await stage.come(schedules, made.id)

    assert await schedules.delete(ANN, made.id)
    assert not await schedules.delete(ANN, made.id)

    async def swept() -> bool:
        found = await engine_of(schedules).list_runs(RunFilter(name="schedules.sweep"))
        return [run.status for run in found] == ["succeeded"]

    await wait_until_async(swept)
    assert await fire_count(schedules) == 0
    assert await open_ticks(schedules) == []
