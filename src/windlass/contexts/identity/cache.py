"""What was looked up a moment ago, for some seconds: once however many ask at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Entry(NamedTuple):
    until: float
    value: asyncio.Future[object]


class Cache(Generic[K, V]):
    """Keeps what ``load`` has found; what it has not found is looked for again each time.

    A value is good for ``seconds`` from the moment at which it began to be looked up, so that nothing older than that
    is ever believed.

    Args:
        seconds: how long a value is good.
        monotonic: the clock, in seconds.
        most: how many are kept; the oldest go first.
    """

    def __init__(self, seconds: float, monotonic: Callable[[], float], most: int = 10_000) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._most = most
        self._entries: dict[K, _Entry] = {}

    async def get(self, key: K, load: Callable[[], Awaitable[V | None]]) -> V | None:
        """Return the value of a key."""
        entry = self._entries.get(key)
        now = self._monotonic()
        if entry is None or entry.until <= now:
            entry = self._begin(key, load, now)
        if not entry.value.done():
            await asyncio.wait([entry.value])
        found: V | None = entry.value.result()  # type: ignore[assignment]  # what ``load`` returned
        return found

    def drop(self, key: K) -> None:
        """Forget a key, and what is being looked up for it: it may be old."""
        self._entries.pop(key, None)

    def _begin(self, key: K, load: Callable[[], Awaitable[V | None]], now: float) -> _Entry:
        entry = _Entry(now + self._seconds, asyncio.ensure_future(load()))
        self._entries.pop(key, None)
        self._entries[key] = entry
        if len(self._entries) > self._most:
            del self._entries[next(iter(self._entries))]

        def ended(value: asyncio.Future[object]) -> None:
            if (value.cancelled() or value.exception() or value.result() is None) and self._entries.get(key) is entry:
                del self._entries[key]

        entry.value.add_done_callback(ended)
        return entry
