"""Where the long computations of steps run, so that everybody else's runs keep their pace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from windlass.contexts.workflows.failures import StepFailure
from windlass.contexts.workflows.templates import AT_ONCE, WORK, TooMuch
from windlass.kernel.threads import DaemonThreads

SMALL = 8 * 1024
"""Characters that are worked on at once, in the event loop."""
CPU_SECONDS = 2.0
"""Processor time a computation may take that can be stopped between two of its steps."""

P = ParamSpec("P")
R = TypeVar("R")

_threads = DaemonThreads(1, "windlass-computing")
"""One: Python computes one thing at a time, and each thread more that wants to is another the event loop waits for."""


async def apart(size: int, work: Callable[P, R], /, *args: P.args, **options: P.kwargs) -> R:
    """Call a function: at once when what it works on is small (``size`` in characters), else in a thread."""
    if size <= SMALL:
        return work(*args, **options)
    return await asyncio.wrap_future(_threads.submit(work, *args, **options))


async def counted(work: Callable[[int], R]) -> R:
    """Call a function that counts what it does: at once with few units, anew in a thread when those are used up."""
    try:
        return work(AT_ONCE)
    except TooMuch:
        return await asyncio.wrap_future(_threads.submit(work, WORK))


class Allowance:
    """Processor time that a computation has, counted for its own thread."""

    __slots__ = ("_end", "_what")

    def __init__(self, what: str, seconds: float = CPU_SECONDS) -> None:
        self._what = what
        self._end = time.thread_time() + seconds

    def check(self) -> None:
        """Go on, or stop.

        Raises:
            StepFailure: ``too_complex``: the time is used up.
        """
        if time.thread_time() > self._end:
            raise too_complex(self._what)


def too_complex(what: str) -> StepFailure:
    """Return the failure of a computation that takes too much."""
    return StepFailure("too_complex", f"{what} takes more work than a step may do", retryable=False)


def invalid(message: str, **data: object) -> StepFailure:
    """Return the failure of a step that was given what it cannot work with."""
    return StepFailure("validation_error", message, retryable=False, **data)
