"""A past window is made up for: its slots that have had no run get one, at a limited rate."""

from typing import Any

import pytest

from tests.contexts.schedules.stage import ANN, BEN, Stage, engine_of, hourly
from tests.support.waiting import wait_until_async
from windlass.contexts.schedules.api import Schedules
from windlass.kernel.actors import Forbidden
from windlass.kernel.errors import ValidationFailed

WINDOW = {"start": "2030-06-01T06:00:00Z", "end": "2030-06-01T12:00:00Z", "at_once": 10, "per_minute": 600}


async def ended(stage: Stage, schedules: Schedules, run_id: str) -> Any:
    """Let time pass until a backfill has ended, and return what it answers."""

    async def over() -> bool:
        stage.pass_time(seconds=1)
        return (await engine_of(schedules).get_run(run_id)).status == "succeeded"

    await wait_until_async(over, timeout=60)
    return await engine_of(schedules).result(run_id, timeout=10)


async def test_slots_that_fired_are_left_alone(stage: Stage) -> None:
    schedules = await stage.process()
    made, _ = await schedules.create(ANN, hourly())
    await stage.come(schedules, made.id)
    await stage.come(schedules, made.id)

    run_id, slots = await schedules.backfill(ANN, made.id, WINDOW)
    assert slots == 7
    assert await ended(stage, schedules, run_id) == {"queued": 5}
    again, _ = await schedules.backfill(ANN, made.id, WINDOW)
    assert await ended(stage, schedules, again) == {}

    fires = await stage.fires(schedules, made.id)
    assert [(fire["kind"], fire["slot"][11:13]) for fire in fires] == [
        ("slot", "11"), ("slot", "12"), *(("backfill", hour) for hour in ("06", "07", "08", "09", "10")),
    ]  # fmt: skip
    assert len({fire["run_id"] for fire in fires}) == 7


async def test_missed_slots_are_made_up_for(stage: Stage) -> None:
    schedules = await stage.process()
    made, _ = await schedules.create(ANN, hourly())
    await stage.lab.stop(engine_of(schedules))
    stage.set_clock("2030-06-01T14:30:00Z")
    again = await stage.process()
    await stage.settled(again, made.id)
    assert await stage.told(again, made.id) == [("slot", "missed")]

    window = WINDOW | {"start": "2030-06-01T11:00:00Z", "end": "2030-06-01T14:00:00Z"}
    run_id, _ = await again.backfill(ANN, made.id, window)

    assert await ended(stage, again, run_id) == {"queued": 4}


async def test_only_so_many_are_open_at_once(stage: Stage) -> None:
    schedules = await stage.process()
    made, _ = await schedules.create(ANN, hourly(workflow="linger", enabled=False))
    window = WINDOW | {"end": "2030-06-01T08:00:00Z", "at_once": 2}
    run_id, _ = await schedules.backfill(ANN, made.id, window)

    async def started(count: int) -> list[str]:
        async def look() -> bool:
            stage.pass_time(seconds=1)
            return len(await stage.fires(schedules, made.id)) == count

        await wait_until_async(look, timeout=30)
        return [fire["run_id"] for fire in await stage.fires(schedules, made.id)]

    first, second = await started(2)
    await engine_of(schedules).signal(second, "go", "on")
    assert len(await started(3)) == 3
    assert (await engine_of(schedules).get_run(first)).status == "running"
    assert await ended(stage, schedules, run_id) == {"queued": 3}


async def test_a_deleted_schedule_ends_its_backfill(stage: Stage) -> None:
    schedules = await stage.process()
    made, _ = await schedules.create(ANN, hourly(workflow="linger"))
    run_id, _ = await schedules.backfill(ANN, made.id, WINDOW | {"end": "2030-06-01T10:00:00Z", "at_once": 1})

    await schedules.delete(ANN, made.id)

    assert (await ended(stage, schedules, run_id)) in ({}, {"queued": 1})


@pytest.mark.parametrize(
    "change,field",
    [
        ({"end": "2030-06-01T05:00:00Z"}, "end"),
        ({"end": "2030-06-02T05:00:00Z"}, "end"),
        ({"start": "2020-01-01T00:00:00Z"}, "end"),
        ({"start": "2030-06-01T06:00:00"}, "start"),
        ({"start": "yesterday"}, "start"),
        ({"start": 5}, "start"),
        ({"per_minute": 0}, "per_minute"),
        ({"per_minute": 601}, "per_minute"),
        ({"at_once": True}, "at_once"),
        ({"rate": 1}, "rate"),
    ],
)
async def test_a_wrong_window_is_refused_by_name(stage: Stage, change: dict[str, Any], field: str) -> None:
    schedules = await stage.process()
    made, _ = await schedules.create(ANN, hourly())

    with pytest.raises(ValidationFailed) as refused:
        await schedules.backfill(ANN, made.id, WINDOW | {"end": "2030-06-01T10:00:00Z"} | change)

    assert refused.value.issues[0].loc == ("body", field)
    with pytest.raises(Forbidden):
        await schedules.backfill(BEN, made.id, WINDOW | {"end": "2030-06-01T10:00:00Z"})
