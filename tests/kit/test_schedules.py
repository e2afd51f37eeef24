"""Schedules in the kit: the product's own, on time that skips."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

import windlass.testing
from windlass import Registry, now, sleep, step, workflow
from windlass.kernel.clock import from_iso, to_datetime
from windlass.kernel.errors import ValidationFailed, WindlassError

DAY = 86_400


@step
async def kit_write(kind: str) -> str:
    return f"the {kind} report"


@workflow(name="kit_report")
async def report(kind: str = "daily") -> list[str]:
    begun = now()
    return [await kit_write(kind), begun.isoformat(timespec="seconds")]


@workflow(name="kit_long")
async def long() -> None:
    await sleep(hours=30)


def slots(fires: list[dict[str, Any]]) -> list[datetime]:
    """When they were due."""
    return [to_datetime(from_iso(fire["slot"])) for fire in fires]


async def test_a_month_of_a_schedule_goes_by_across_a_change_of_clocks() -> None:
    async with windlass.testing.engine(start=datetime(2030, 3, 16, tzinfo=UTC)) as engine:
        made = await engine.schedule("0 7 * * MON-FRI", report, {"kind": "early"}, timezone="Europe/Berlin")
        await asyncio.sleep(30 * DAY)
        fires = await made.fires()
        results = [await engine.result(fire["run_id"]) for fire in fires]

        days = [day for day in range(16, 31) if datetime(2030, 3, day, tzinfo=UTC).weekday() < 5]
        expected = [datetime(2030, 3, day, 6, tzinfo=UTC) for day in days]
        expected += [datetime(2030, 4, day, 5, tzinfo=UTC) for day in (1, 2, 3, 4, 5, 8, 9, 10, 11, 12)]
        assert slots(fires) == expected
        assert results == [["the early report", at.isoformat()] for at in expected]
        assert {fire["status"] for fire in fires} == {"queued"}
        view = await made.view()
        assert (view["workflow"], view["last_status"]) == ("kit_report", "queued")
        assert (await engine.get_run(fires[0]["run_id"])).attributes["schedule_id"] == made.id


@pytest.mark.parametrize("mode", ["skip", "queue"])
async def test_runs_that_overlap_do_as_the_schedule_says(mode: str) -> None:
    async with windlass.testing.engine(start=datetime(2030, 1, 1, 1, tzinfo=UTC)) as engine:
        made = await engine.schedule("0 0 * * *", long, concurrency_mode=mode, require_online=True)
        await asyncio.sleep(6 * DAY)
        said = [fire["status"] for fire in await made.fires()]

    assert said == (["queued", "skipped_overlap"] * 3 if mode == "skip" else ["queued"] * 6)


async def test_a_schedule_is_paused_resumed_and_run_now() -> None:
    async with windlass.testing.engine(start=datetime(2030, 1, 1, 1, tzinfo=UTC)) as engine:
        made = await engine.schedule("0 0 * * *", "kit_report")
        other = await engine.schedule("0 12 * * *", "kit_report")
        await made.change(enabled=False)
        await asyncio.sleep(3 * DAY)
        run_id = await made.run_now()
        assert (await engine.result(run_id))[0] == "the daily report"
        await made.change(enabled=True)
        await asyncio.sleep(2 * DAY)

        assert [fire["kind"] for fire in await made.fires()] == ["run_now", "slot", "slot"]
        assert len(await other.fires()) == 5


async def test_a_schedule_that_could_not_be_made_is_refused_as_by_a_server() -> None:
    async with windlass.testing.engine(registry=Registry()) as engine:
        with pytest.raises(ValidationFailed, match="cron"):
            await engine.schedule("61 * * * *", "kit_report")
        with pytest.raises(WindlassError, match="no workflow 'kit_report' is registered"):
            await engine.schedule("0 * * * *", "kit_report")
