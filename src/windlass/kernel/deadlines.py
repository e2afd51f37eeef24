"""Awaiting something for so long: a timer is set for what waits, and for nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, TypeVar

R = TypeVar("R")


class _Begun(Generic[R]):
    """Work that waits for its first future: who awaits this goes on with it."""

    __slots__ = ("_future", "_work")

    def __init__(self, work: Generator[Any, Any, R], future: Any) -> None:
        self._work = work
        self._future = future

    def __await__(self) -> Generator[Any, Any, R]:
        future = self._future
        try:
            while True:
                try:
                    sent = yield future
                except BaseException as error:  # noqa: BLE001  it is handed on: to cancel is to throw
                    future = self._work.throw(error)
                else:
                    future = self._work.send(sent)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


async def within(seconds: float, awaitable: Awaitable[R], late: Callable[[], Exception]) -> R:
    """Await something for at most so many seconds.

    Most of what is awaited ends at once; a timer for each would cost more than the rest of it.

    Raises:
        Exception: what ``late`` returns, when it took longer.
    """
    begun = asyncio.get_running_loop().time()
    work = awaitable.__await__()
    try:
        future = work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    deadline = asyncio.timeout_at(begun + seconds)
    try:
        async with deadline:
            return await _Begun(work, future)
    except TimeoutError:
        if not deadline.expired():
            raise
        raise late() from None
