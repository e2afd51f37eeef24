"""The one clock. Wall time is integer microseconds since 1970 UTC, monotonic time is seconds."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

SECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    """Where the engine reads time, so that tests can run years in milliseconds."""

    def now(self) -> int:
        """Return wall time in microseconds since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...


class SystemClock:
    """The machine's clock, put right by ``correction`` microseconds."""

    correction = 0

    def now(self) -> int:
        """Return wall time in microseconds."""
        return time.time_ns() // 1000 + self.correction

    monotonic = staticmethod(time.monotonic)
    """Monotonic seconds."""


_iso_second = (0, "1970-01-01T00:00:00.")


def to_iso(us: int) -> str:
    """Return microseconds as ISO 8601 in UTC with six decimals and ``Z``; sorts as text."""
    global _iso_second  # noqa: PLW0603  a one-entry cache: the rows of a batch share their second
    start, text = _iso_second
    rest = us - start
    if not 0 <= rest < SECOND:
        second, rest = divmod(us, SECOND)
        text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        _iso_second = (us - rest, text)
    return f"{text}{rest:06d}Z"


def to_datetime(us: int) -> datetime:
    """Return microseconds as an aware UTC datetime."""
    return _EPOCH + timedelta(microseconds=us)


def from_datetime(value: datetime) -> int:
    """Return an aware datetime as microseconds since 1970 UTC."""
    return (value - _EPOCH) // _MICROSECOND


def from_iso(text: str) -> int:
    """Return ISO 8601 text with a zone as microseconds since 1970 UTC.

    Raises:
        ValueError: the text is no date-time, or has no zone.
    """
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError("no time zone")
    return from_datetime(value)
