"""Following a run's events: whoever writes to a run that is followed, here or elsewhere, says so.

A process tells the others which runs are followed in it; those ring it after each commit that touches one. Nobody
who writes asks the database who follows, and nobody who follows asks it anything while nothing happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable
from dataclasses import dataclass, field

from windlass.engine.types import Event

BEAT_SECONDS = 1.0
"""How often who follows a silent run hears that there is nothing."""
PAGE = 500
KEPT_RENEWALS = 3
"""What another process asked for is forgotten when it was not asked for again in so many renewals of our own."""

Read = Callable[[str, int, int], Awaitable[list[Event]]]
"""Returns up to so many events of a run after a number."""


@dataclass(slots=True, eq=False)
class Follower:
    """Somebody who follows a run, and what he has seen of it."""

    since: int
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def told(self) -> bool:
        """Wait for news; False when none came for a moment."""
        try:
            async with asyncio.timeout(BEAT_SECONDS):
                await self.news.wait()
        except TimeoutError:
            return False
        return True


class Audience:
    """Who follows which run, in this process and in the others.

    Args:
        announce: tells the other processes which runs are followed here.
    """

    def __init__(self, announce: Callable[[Iterable[str]], None]) -> None:
        self._announce = announce
        self._renewals = 0
        self.here: dict[str, list[Follower]] = {}
        self.asked: dict[str, int] = {}
        """The runs that others follow, and when they last said so."""

    def __contains__(self, run_id: str) -> bool:
        return run_id in self.here

    def wanted(self, touched: Iterable[str]) -> list[str]:
        """Return those of the runs that are followed anywhere; any thread may ask."""
        if not (self.here or self.asked):
            return []
        return [run_id for run_id in touched if run_id in self.here or run_id in self.asked]

    def ask(self, run_id: str) -> bool:
        """Hear that another process follows a run; True when that is new: it may have missed what was written."""
        new = run_id not in self.asked
        self.asked[run_id] = self._renewals
        return new

    def announce(self) -> None:
        """Tell the others once more what is followed here."""
        if self.here:
            self._announce(self.here)

    def renew(self) -> None:
        """Now and then: tell the others once more, and forget what they have not asked for again."""
        self.announce()
        self._renewals += 1
        oldest = self._renewals - KEPT_RENEWALS
        for run_id in [run_id for run_id, asked in self.asked.items() if asked < oldest]:
            del self.asked[run_id]

    def wake(self, run_id: str, seq: int | None = None) -> None:
        """Tell those who follow a run, and have not seen ``seq``, that something was written."""
        for one in self.here.get(run_id, ()):
            if seq is None or one.since < seq:
                one.news.set()

    def elsewhere(self, held: Container[str]) -> list[str]:
        """Return the runs followed here that are not among those held here."""
        return [run_id for run_id in self.here if run_id not in held]

    async def follow(self, run_id: str, since: int, read: Read) -> AsyncIterator[list[Event]]:
        """Yield a run's events after number ``since`` as they come, for ever; an empty list about once a second."""
        me = Follower(since)
        self.here.setdefault(run_id, []).append(me)
        if len(self.here[run_id]) == 1:
            self._announce([run_id])
        try:
            while True:
                me.news.clear()
                found = await read(run_id, me.since, PAGE)
                if found:
                    me.since = found[-1].seq
                    yield found
                while len(found) < PAGE and not await me.told():
                    yield []
        finally:
            self.here[run_id].remove(me)
            if not self.here[run_id]:
                del self.here[run_id]
