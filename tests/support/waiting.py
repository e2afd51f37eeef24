"""Wait for a condition, never for a time: poll until it holds or a deadline passes."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")

_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.05


class ConditionNotMet(AssertionError):
    """The condition did not hold before the deadline; the message carries what was seen last."""


def wait_until(condition: Callable[[], T], timeout: float = 30.0, what: str = "") -> T:
    """Call `condition` until its value is true and return that value.

    Args:
        condition: asked at least twice; an exception it raises ends the wait at once.
        timeout: seconds until the wait is given up.
        what: names the condition in the error.

    Raises:
        ConditionNotMet: the value was still false at the deadline.
    """
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise _not_met(condition, timeout, what, value)
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


@overload
async def wait_until_async(condition: Callable[[], Awaitable[T]], timeout: float = 30.0, what: str = "") -> T: ...


@overload
async def wait_until_async(condition: Callable[[], T], timeout: float = 30.0, what: str = "") -> T: ...


async def wait_until_async(
    condition: Callable[[], Awaitable[T]] | Callable[[], T], timeout: float = 30.0, what: str = ""
) -> T:
    """Like `wait_until`, giving way to the event loop; `condition` may be a coroutine function."""
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        answer = condition()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() >= deadline:
            raise _not_met(condition, timeout, what, value)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _not_met(condition: Callable[..., object], timeout: float, what: str, value: object) -> ConditionNotMet:
    name = what or getattr(condition, "__qualname__", repr(condition))
    return ConditionNotMet(f"{name} did not hold within {timeout:g} s; last seen: {value!r}")
