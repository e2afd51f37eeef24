"""Two processes over a simulated year, and over a few slots with a crash at every commit: each slot fires once."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from tests.simulation.almanac import BEGINS, JOB, Almanac
from windlass.kernel.clock import SECOND, to_datetime
from windlass.testing.simulation.faults import BAD_FATES, Fate

YEAR = 366 * 86_400 * SECOND
MOST = 300


def local_times(zone: str, hour: int, minute: int, weekdays: set[int]) -> Iterator[datetime]:
    """Yield a time of day on some days of a year's months, worked out minute by minute, without any cron."""
    where = ZoneInfo(zone)
    begin, end = to_datetime(BEGINS), to_datetime(BEGINS + YEAR)
    day = begin.astimezone(where).date() - timedelta(days=1)
    while day <= end.date() + timedelta(days=1):
        if day.weekday() in weekdays and day.month in MONTHS:
            moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=where).astimezone(UTC)
            wall = moment.astimezone(where)
            if (wall.hour, wall.minute) != (hour, minute):  # this day's clock is set forward over it: the gap's end
                gap = datetime(day.year, day.month, day.day, hour, tzinfo=UTC) - timedelta(hours=12)
                while gap.astimezone(where).date() < day or gap.astimezone(where).hour < hour:
                    gap += timedelta(minutes=1)
                moment = gap
            if begin < moment <= end:
                yield moment
        day += timedelta(days=1)


EVERY_DAY, WORKDAYS, SUNDAY = set(range(7)), set(range(5)), {6}
MONTHS = {2, 3, 4, 10, 11}
"""The months in which the clocks of these places are set, and one that is short."""
PLANS = {
    ("30 2 * 2-4,10,11 *", "Europe/Berlin"): [(2, 30, EVERY_DAY)],
    ("30 1,13 * 2-4,10,11 MON-FRI", "America/New_York"): [(1, 30, WORKDAYS), (13, 30, WORKDAYS)],
    ("0 12 * 2-4,10,11 SUN", "Asia/Kolkata"): [(12, 0, SUNDAY)],
    ("15 2 * 2-4,10,11 *", "Australia/Lord_Howe"): [(2, 15, EVERY_DAY)],
}


def test_two_processes_fire_every_slot_of_a_year_once() -> None:
    almanac = Almanac("a year", quiet=True)
    plans = list(PLANS)

    async def year(almanac: Almanac) -> None:
        await almanac.add(*plans)
        while (following := almanac.next_slot()) <= BEGINS + YEAR:
            almanac.set_clocks(following)
            if almanac.dice.random() < 0.05 and almanac.world.processes:
                almanac.world.kill(almanac.dice.choice(sorted(almanac.world.processes)))
            await almanac.caught_up()
        await almanac.jobs_done()
        fired = sum(check(almanac, number, plan) for number, plan in enumerate(plans))
        assert almanac.rows(f"SELECT count(*) FROM workflow_runs WHERE name = '{JOB}'") == [(fired,)]
        assert fired > 500
        assert len(almanac.world.graveyard) > 5

    almanac.live(year)


def check(almanac: Almanac, number: int, plan: tuple[str, str]) -> int:
    """Compare what fired with what the calendar says, and return how much that was."""
    expected = sorted({at for hour, minute, days in PLANS[plan] for at in local_times(plan[1], hour, minute, days)})
    found = [slot for slot in almanac.slots(f"{number:032x}") if slot[0] <= to_datetime(BEGINS + YEAR)]
    assert [slot[0] for slot in found] == expected, plan
    assert {slot[1:] for slot in found} == {("queued", 1)}, plan
    return len(found)


def drill(fate: Fate, commit: int) -> bool:
    """Live through four slots while something bad becomes of one commit; says whether there was such a commit."""
    almanac = Almanac("a drill")

    async def life(almanac: Almanac) -> None:
        almanac.world.faults.appointed[commit] = fate
        await almanac.add(("0 * * * *", "UTC"))
        for _ in range(4):
            almanac.set_clocks(almanac.next_slot())
            await almanac.caught_up()
        await almanac.jobs_done()
        slots = almanac.slots("0" * 32)
        assert [slot[1:] for slot in slots] == [("queued", 1)] * 4, slots
        assert [b[0] - a[0] for a, b in pairwise(slots)] == [timedelta(hours=1)] * 3
        assert almanac.rows(f"SELECT count(*) FROM workflow_runs WHERE name = '{JOB}'") == [(4,)]
        waiting = almanac.rows("SELECT 1 FROM workflow_runs WHERE name = 'schedules.tick' AND wake_at IS NOT NULL")
        assert len(waiting) == 1

    almanac.live(life)
    return commit not in almanac.world.faults.appointed


@pytest.mark.parametrize("fate", BAD_FATES, ids=lambda fate: fate.value.replace(" ", "-"))
def test_whatever_becomes_of_a_commit_each_slot_fires_once(fate: Fate) -> None:
    survived = 0
    while drill(fate, survived + 1):
        survived += 1
        assert survived < MOST

    assert survived >= 15
