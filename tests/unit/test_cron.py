"""Crontab lines in time zones: what they mean around changes of the clock, and what is none."""

from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.contexts.schedules.backfill import count
from windlass.contexts.schedules.cron import Cron, check, cron, zones
from windlass.contexts.schedules.firing import COUNTED, due
from windlass.kernel.clock import SECOND, from_iso, to_datetime
from windlass.kernel.errors import ValidationFailed

HOUR = 3600 * SECOND


def local(line: str, zone: str, after: str, many: int) -> list[str]:
    """The next slots as people there read them."""
    found = islice(cron(line, zone).after(from_iso(after)), many)
    return [f"{to_datetime(slot).astimezone(ZoneInfo(zone)):%d %H:%M %z}" for slot in found]


@pytest.mark.parametrize(
    "line,zone,after,expected",
    [
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", ["29 03:00 +0200", "30 02:30 +0200"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", ["25 02:30 +0200", "26 02:30 +0100"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", ["26 02:30 +0100"]),
        ("0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", ["25 02:00 +0200", "25 02:00 +0100", "25 03:00 +0100"]),
        ("0 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", ["29 03:00 +0200", "29 04:00 +0200"]),
        ("0,30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", ["29 03:00 +0200", "29 03:30 +0200"]),
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", ["29 00:00 +0000"]),
        ("0 9 * * SUN#2", "UTC", "2026-01-01T00:00:00Z", ["11 09:00 +0000"]),
        ("0 9 L * *", "UTC", "2026-02-01T00:00:00Z", ["28 09:00 +0000"]),
    ],
)
def test_slots_are_what_cron_means(line: str, zone: str, after: str, expected: list[str]) -> None:
    assert local(line, zone, after, len(expected)) == expected


@pytest.mark.parametrize(
    "line",
    [
        "", "* * * *", "* * * * * *", "@daily", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8",
        "*/0 * * * *", "5-1 * * * *", "a * * * *", "* * * * 1#6", "0 0 30 2 *", "0 0 31 4,6 *", "0 0 31 2 1#5/2",
        "² * * * *",
    ],
)  # fmt: skip
def test_what_is_none_is_refused(line: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        check(line, "Europe/Berlin", from_iso("2026-01-01T00:00:00Z"))

    assert refused.value.issues[0].loc == ("body", "cron")


@pytest.mark.parametrize("zone", ["Mars/Base", "", "localtime", "../UTC", "europe/berlin"])
def test_a_zone_that_is_none_is_refused(zone: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        check("* * * * *", zone, 0)

    assert refused.value.issues[0].loc == ("body", "timezone")


FIELDS = st.tuples(
    st.sampled_from(["*", "*/20", "0", "30", "15,45"]),
    st.sampled_from(["*", "*/6", "0", "2", "1-3"]),
    st.sampled_from(["*", "1", "29", "L"]),
    st.sampled_from(["*", "3", "10,11"]),
    st.sampled_from(["*", "SUN", "MON-FRI"]),
)


@given(
    FIELDS,
    st.sampled_from(sorted(zones())),
    st.integers(631_152_000, 2_208_988_800),
    st.integers(1, 40),
)
def test_slots_only_go_forward_wherever_one_begins(fields: tuple[str, ...], zone: str, begin: int, many: int) -> None:
    times = Cron(" ".join(fields), zone)
    start = begin * SECOND

    found = list(islice(times.after(start), many))

    assert all(start < found[0] for _ in found[:1])
    assert all(a < b for a, b in pairwise(found))
    assert [times.next(slot) for slot in found[:-1]] == found[1:]


@pytest.mark.parametrize(
    "zone,midnight",
    [
        ("Europe/Berlin", "2027-10-30T22:00:00Z"),
        ("America/New_York", "2027-11-07T04:00:00Z"),
        ("Australia/Lord_Howe", "2027-04-03T13:00:00Z"),
        ("Australia/Lord_Howe", "2027-10-02T13:30:00Z"),
    ],
)
@pytest.mark.parametrize("line", ["30 2 * * *", "45 1 * * *", "30 * * * *", "0 */2 * * *", "0,15,30,45 1-2 * * *"])
def test_the_last_slot_is_one_of_those_that_came_on_days_of_change_too(zone: str, midnight: str, line: str) -> None:
    times, begin = cron(line, zone), from_iso(midnight)
    slots = [slot for slot in islice(times.after(begin - 48 * HOUR), 200) if slot < begin + 48 * HOUR]

    for moment in range(begin, begin + 8 * HOUR, HOUR // 4):
        assert times.last(moment) == max(slot for slot in slots if slot < moment)


def test_due_slots_are_told_from_missed_ones() -> None:
    hourly = cron("0 * * * *", "UTC")
    begin = from_iso("2026-01-01T00:00:00Z")

    assert due(hourly, begin, begin + HOUR - 1, 300) == (None, [])
    assert due(hourly, begin, begin + HOUR, 0) == (None, [begin + HOUR])
    assert due(hourly, begin, begin + HOUR + 5 * SECOND, 0) == (None, [begin + HOUR])
    assert due(hourly, begin, begin + HOUR + 6 * SECOND, 0) == ((begin + HOUR, begin + HOUR, 1), [])
    assert due(hourly, begin, begin + 3 * HOUR, 3600) == (
        (begin + HOUR, begin + HOUR, 1),
        [begin + 2 * HOUR, begin + 3 * HOUR],
    )


def test_a_year_of_missed_minutes_is_counted_to_a_bound() -> None:
    begin, end = from_iso("2026-01-01T00:00:00Z"), from_iso("2027-01-01T00:00:00Z")

    missed, slots = due(cron("* * * * *", "Europe/Berlin"), begin, end, 120)

    assert missed == (begin + 60 * SECOND, end - 180 * SECOND, COUNTED)
    assert slots == [end - 120 * SECOND, end - 60 * SECOND, end]


def test_a_window_is_counted_with_both_ends() -> None:
    start, end = from_iso("2026-01-01T00:00:00Z"), from_iso("2026-01-01T05:00:00Z")

    assert count("0 * * * *", "UTC", start, end) == 6
    assert count("* * * * *", "UTC", start, end + 366 * 24 * HOUR) == 10_001
