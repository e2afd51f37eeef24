"""Takes over the time of a running event loop: where it would sleep, its time jumps to what comes next."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

PATIENCE = 0.05
"""How many real seconds input from outside is waited for, while somebody listens for some, before time jumps."""


class NeverEnds(Exception):
    """Everything waits, and nothing will ever come: a signal that nobody sends, say."""


class Sleeper(Protocol):
    """Somebody who waits for times that the loop does not know."""

    def next_wake(self) -> float | None:
        """Return in how many seconds there is something to do; None when nothing is waited for."""
        ...

    def wake(self) -> None:
        """Look what is due."""
        ...

    def never(self) -> None:
        """Hear that nothing will ever come."""
        ...


class Skipper:
    """The time of one loop. It runs as fast as it can: real time counts for nothing but threads and the network."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._real_time = loop.time
        self._selector = loop._selector
        self._select = loop._selector.select
        self._executor = loop.run_in_executor
        self._resting = len(loop._selector.get_map())
        self._now: float = loop.time()
        self._threads = 0
        self._users = 0
        self.sleepers: list[Sleeper] = []

    def time(self) -> float:
        """Return the loop's time in seconds."""
        return self._now

    def take(self) -> None:
        """Take the loop's time over."""
        self._users += 1
        if self._users == 1:
            self._now = max(self._now, self._real_time())
            self._loop.time = self.time
            self._selector.select = self._wait
            self._loop.run_in_executor = self._in_thread

    def give_back(self) -> None:
        """Let time pass by itself again, from where it is."""
        self._users -= 1
        if self._users == 0:
            ahead = self._now - self._real_time()
            real = self._real_time
            self._loop.time = lambda: real() + ahead
            self._real_time = self._loop.time
            self._selector.select = self._select
            self._loop.run_in_executor = self._executor

    def _in_thread(self, executor: Any, function: Any, *args: Any) -> asyncio.Future[Any]:
        self._threads += 1
        future: asyncio.Future[Any] = self._executor(executor, function, *args)
        future.add_done_callback(self._returned)
        return future

    def _returned(self, _future: asyncio.Future[Any]) -> None:
        self._threads -= 1

    def _wait(self, timeout: float | None) -> Any:
        """Do what the loop wants: look, wait for a thread, or jump."""
        if timeout is not None and timeout <= 0:
            return self._select(0)
        if self._threads:
            return self._really(timeout)
        listening = len(self._selector.get_map()) > self._resting
        events = self._select(PATIENCE if listening else 0)
        if events:
            return events
        wakes = [(wake, sleeper) for sleeper in self.sleepers if (wake := sleeper.next_wake()) is not None]
        ahead = min([math.inf if timeout is None else timeout, *(max(wake, 0) for wake, _ in wakes)])
        if math.isinf(ahead):
            return self._really(None) if listening or not self._told() else self._select(0)
        self._now += ahead
        for wake, sleeper in wakes:
            if wake <= ahead:
                sleeper.wake()
        return events

    def _really(self, timeout: float | None) -> Any:
        """Wait as others do; as much time passes."""
        begun = self._real_time()
        events = self._select(timeout)
        self._now += self._real_time() - begun
        return events

    def _told(self) -> bool:
        """Tell everybody who waits that it is in vain; says whether that leads to anything."""
        for sleeper in self.sleepers:
            sleeper.never()
        return bool(self._loop._ready)


@contextmanager
def skipping(loop: asyncio.AbstractEventLoop) -> Iterator[Skipper]:
    """Take over a loop's time for a while.

    Raises:
        RuntimeError: it is a loop of another kind, uvloop's say.
    """
    skipper: Skipper | None = getattr(loop, "_windlass_skipper", None)
    if skipper is None:
        if not isinstance(loop, asyncio.SelectorEventLoop):
            raise RuntimeError(f"the time of {type(loop).__name__} cannot be skipped: use asyncio's own loop in tests")
        skipper = Skipper(loop)
        loop._windlass_skipper = skipper  # type: ignore[attr-defined]
    skipper.take()
    try:
        yield skipper
    finally:
        skipper.give_back()
