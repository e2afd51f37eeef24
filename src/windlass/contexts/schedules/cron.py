"""When a crontab line means: five fields in a time zone, read as Debian's cron reads them.

On a day whose clock is set forward, a fixed time that is skipped comes at the end of the gap; on a day whose clock is
set back, a fixed time comes once, the first time. A line whose minute or hour begins with ``*`` follows real time.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from functools import cache, lru_cache
from itertools import takewhile
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from windlass.kernel.clock import SECOND, from_datetime, to_datetime
from windlass.kernel.errors import Issue, ValidationFailed

FIELDS = 5
LONGEST = 200
"""The longest crontab line, in characters."""
_CHANGE = 3 * 3600 * SECOND
"""Longer than a clock is ever set forward or back on the days that it is."""
_NO_PLACES = frozenset({"localtime", "Factory", "posixrules"})


class BadCron(ValueError):
    """A crontab line that is none, or one that never comes."""


class Cron:
    """The slots of a crontab line in a time zone; a slot is microseconds since 1970 UTC.

    Raises:
        BadCron: the line cannot be read.
    """

    def __init__(self, line: str, zone: str) -> None:
        self.line = line
        self.zone = ZoneInfo(zone)
        self._where = UTC if zone == "UTC" else self.zone
        try:
            CronSim(line, to_datetime(0))
        except (CronSimError, AssertionError, TypeError, ValueError) as error:
            raise BadCron(str(error)) from None

    def after(self, moment: int) -> Iterator[int]:
        """Yield the slots after a moment, one after the other; it ends when none comes within 50 years."""
        last = moment
        for at in CronSim(self.line, to_datetime(moment).astimezone(self._where)):
            slot = from_datetime(at)
            if slot > last:  # the hour that comes twice is looked at again from its beginning
                last = slot
                yield slot

    def next(self, moment: int) -> int | None:
        """Return the first slot after a moment, or None when there is none."""
        return next(self.after(moment), None)

    def last(self, moment: int) -> int | None:
        """Return the last slot before a moment, or None when there is none."""
        for at in CronSim(self.line, to_datetime(moment - _CHANGE).astimezone(self._where), reverse=True):
            before = takewhile(lambda slot: slot < moment, self.after(from_datetime(at) - _CHANGE))
            last = max(before, default=None)  # backwards a change of the clock is read differently: only a beginning
            if last is not None:
                return last
        return None


@lru_cache(maxsize=1024)
def cron(line: str, zone: str) -> Cron:
    """Return the slots of a line that has been checked."""
    return Cron(line, zone)


@cache
def zones() -> frozenset[str]:
    """Return the names of the time zones that this system knows."""
    return frozenset(available_timezones() - _NO_PLACES)


def zone_issues(zone: str) -> Iterator[Issue]:
    """Yield what is wrong with the name of a time zone."""
    if zone not in zones():
        yield Issue(("body", "timezone"), "Input should be a time zone such as Europe/Berlin", "timezone")


def cron_issues(line: str, zone: str, now: int) -> Iterator[Issue]:
    """Yield what is wrong with a crontab line in a time zone that is right."""
    if len(line.split()) != FIELDS:
        message = "Input should be five fields: minute, hour, day of month, month, day of week"
        yield Issue(("body", "cron"), message, "cron")
        return
    try:
        found = Cron(line, zone).next(now)
    except (BadCron, OverflowError) as error:
        yield Issue(("body", "cron"), f"Input should be a crontab line: {error}", "cron")
        return
    if found is None:
        yield Issue(("body", "cron"), "No such time ever comes", "cron")


def check(line: str, zone: str, now: int) -> Cron:
    """Return a crontab line in a time zone.

    Raises:
        ValidationFailed: one of them is wrong; names it.
    """
    issues = list(zone_issues(zone)) or list(cron_issues(line, zone, now))
    if issues:
        raise ValidationFailed(issues)
    return cron(line, zone)
