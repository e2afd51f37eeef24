"""Dates and times as users write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time

from windlass.kernel.errors import Invalid

_SHAPE = re.compile(
    r"\d{4}-\d{2}-\d{2}(?P<time>[Tt ]\d{2}:\d{2}(:\d{2}([.,]\d{1,6})?)?(?P<zone>[Zz]|[+-]\d{2}(:?\d{2})?)?)?", re.ASCII
)
_LOST_PLUS = re.compile(r"(?<=\d) (?=\d{2}:\d{2}$)", re.ASCII)
DAY_START = "T00:00:00.000000Z"
DAY_END = "T23:59:59.999999Z"


def read_moment(text: str, name: str, *, end: bool = False, what: str = "datetime") -> str:
    """Return a date or date-time as ISO 8601 text in UTC with microseconds.

    A bare date is a UTC day: its first moment, or its last when ``end``. A ``+`` that a URL turned into a space is
    understood.

    Raises:
        Invalid: it is neither, or has no zone.
    """
    shape = _SHAPE.fullmatch(text) or _SHAPE.fullmatch(text := _LOST_PLUS.sub("+", text, count=1))
    if shape is None:
        raise Invalid(f"invalid {what}: {text}", field=name)
    if shape["time"] and not shape["zone"]:
        raise Invalid(f"invalid {what}: {text} has no time zone", field=name)
    try:
        value = datetime.fromisoformat(text.upper())
        if not shape["time"]:
            value = datetime.combine(value, time.max if end else time.min, UTC)
        moment = value.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise Invalid(f"invalid {what}: {text}", field=name) from None
    return moment.isoformat(timespec="microseconds") + "Z"
