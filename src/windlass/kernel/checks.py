"""What may be a name, a text or a number that somebody gives."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from windlass.kernel.clock import from_datetime
from windlass.kernel.errors import Invalid

LONGEST_SECONDS = 1000 * 366 * 86400
"""The longest time that anything can wait: what comes after it has a date that no text can hold."""
MOST_PLACES = 100_000
"""The highest limit of a queue: every place is a row."""
Errors = type[BaseException] | Iterable[type[BaseException]]
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.<>:-]{0,199}")


class BadName(Invalid, ValueError):
    """A name of a workflow, step, queue or signal that is none."""


def check_name(name: str) -> str:
    """Return a workflow, step, queue or signal name unchanged.

    Raises:
        BadName: it is not 1 to 200 letters, digits and ``_ . : < > -``, beginning with a letter or ``_``.
    """
    if not _NAME.fullmatch(name):
        raise BadName(f"{name!r} is no name: use 1 to 200 letters, digits and _ . : < > -")
    return name


def check_text(field: str, text: str | None) -> str | None:
    """Return an id or key unchanged.

    Raises:
        Invalid: it is not 1 to 255 printable characters.
    """
    if text is not None and not (1 <= len(text) <= 255 and text.isprintable()):
        raise Invalid(f"{field} is 1 to 255 printable characters", field=field)
    return text


class BadNumber(Invalid, ValueError):
    """A number that is none, or is out of its range."""


def check_number(field: str, value: Any, least: float, most: float, *, whole: bool = False, whose: str = "") -> float:
    """Return a number; ``whose`` begins the message.

    Raises:
        BadNumber: it is not between ``least`` and ``most``, or not ``whole``, or not a number.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and whole and not isinstance(value, int):
        raise BadNumber(f"{whose}{field} must be a whole number, not {value!r}", field=field)
    if not (number and least <= value <= most):
        raise BadNumber(f"{whose}{field} must be between {least} and {most}, not {value!r}", field=field)
    return float(value)


def check_priority(priority: int, whose: str = "") -> int:
    """Return a priority unchanged.

    Raises:
        BadNumber: it is not a whole number of 32 bits.
    """
    check_number("priority", priority, -(2**31), 2**31 - 1, whole=True, whose=whose)
    return priority


def check_limit(limit: int | None) -> None:
    """Refuse what is no limit of a queue; None is none at all.

    Raises:
        Invalid: it is not a whole number from 1 to ``MOST_PLACES``.
    """
    if limit is not None and (type(limit) is not int or not 1 <= limit <= MOST_PLACES):
        raise Invalid(f"a limit is from 1 to {MOST_PLACES}; to stop a queue, pause it", field="limit")


def check_moment(field: str, value: Any) -> int:
    """Return a point in time as microseconds since 1970 UTC.

    Raises:
        Invalid: it is no date-time, or has no zone.
    """
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise Invalid(f"{field} is a date-time with a time zone", field=field)
    return from_datetime(value)


def error_types(field: str, errors: Errors) -> tuple[type[BaseException], ...]:
    """Return a type of errors, or several, as a tuple.

    Raises:
        TypeError: one is none.
    """
    several = isinstance(errors, Iterable) and not isinstance(errors, type | str)
    given: tuple[Any, ...] = tuple(errors) if several else (errors,)  # type: ignore[arg-type]
    for one in given:
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise TypeError(f"{field} takes types of errors, not {one!r}")
    return given
