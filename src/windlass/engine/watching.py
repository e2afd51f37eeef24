"""Following a run's events: woken by what this process writes, looking once a second for what others do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from windlass.engine.types import Event

LOOK_SECONDS = 1.0
PAGE = 500

Read = Callable[[str, int, int], Awaitable[list[Event]]]
"""Returns up to so many events of a run after a number."""


class Audience:
    """Who waits in this process for news of which run."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._waiting

    def wake(self, run_id: str) -> None:
        """Tell everybody who follows a run that something was written."""
        for future in self._waiting.pop(run_id, ()):
            if not future.done():
                future.set_result(None)

    async def follow(self, run_id: str, since: int, read: Read) -> AsyncIterator[list[Event]]:
        """Yield a run's events after number ``since`` as they come, for ever; an empty list about once a second."""
        while True:
            news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(run_id, []).append(news)
            try:
                found = await read(run_id, since, PAGE)
                if not found:
                    await asyncio.wait([news], timeout=LOOK_SECONDS)
                    if news.done():
                        continue
            finally:
                self._forget(run_id, news)
            if found:
                since = found[-1].seq
            yield found

    def _forget(self, run_id: str, news: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(run_id)
        if waiting is not None and news in waiting:
            waiting.remove(news)
            if not waiting:
                del self._waiting[run_id]
