"""The ends of journals in memory, and who follows them: what is written is handed on once for all of them.

Nobody has a queue of his own. A follower remembers the number that he has seen; what comes next he takes from the last
events that are kept for all, and who is so slow that they are gone finds that out and reads them from the database.
What others have written is read once for all who follow it, unless they do not yet know what was there before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

BEAT_SECONDS = 1.0
"""How often who follows a silent run hears that there is nothing."""
KEPT_BYTES = 64 * 1024
"""About how much of a run's last events is kept."""
EVENT_BYTES = 200
"""Of an event besides its payload, about."""
PAGE = 500
"""Events of a run in one read, at most."""
RUNS_A_READ = 50


class Told(Protocol):
    """An event of a run: ``seq`` goes up by one from event to event."""

    @property
    def run_id(self) -> str:
        """Whose it is."""
        ...

    @property
    def seq(self) -> int:
        """Its number."""
        ...

    @property
    def payload(self) -> str:
        """What makes it large or small."""
        ...


T = TypeVar("T")
E = TypeVar("E", bound=Told)


class News(list[E]):
    """Events of one run in their order, the same list for all who are to hear them."""

    def __init__(self, events: Iterable[E] = ()) -> None:
        super().__init__(events)
        self._made: dict[Callable[[E], Any], list[Any]] = {}

    def each(self, make: Callable[[E], T]) -> list[T]:
        """Return what a function makes of each event; it is asked once for all who hear them."""
        made = self._made.get(make)
        if made is None:
            made = self._made[make] = [make(event) for event in self]
        return made

    @property
    def weight(self) -> int:
        """About how many bytes they take."""
        return sum(len(event.payload) + EVENT_BYTES for event in self)


@dataclass(slots=True, eq=False)
class Follower:
    """Somebody who follows, and the number he has seen; ``behind``: he still reads for himself."""

    since: int
    behind: bool = True
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def told(self) -> bool:
        """Wait for news; False when none came for a moment."""
        with suppress(TimeoutError):
            async with asyncio.timeout(BEAT_SECONDS):
                await self.news.wait()
        return self.news.is_set()


class Feed(Generic[E]):
    """A run that is followed: by whom, and its last events."""

    def __init__(self) -> None:
        self.followers: list[Follower] = []
        self.end = 0
        """The number of the last event that was heard of."""
        self._tail: deque[News[E]] = deque()
        self._weight = 0

    @property
    def since(self) -> int | None:
        """Up to which number all were told who do not read for themselves; None when there are none of these."""
        return self.end or min((one.since for one in self.followers if not one.behind), default=None)

    def push(self, events: Iterable[E], *, read: bool = False) -> bool:
        """Hand events on; those that were heard of are left out.

        ``read`` says that they are all there are from ``since`` on, whatever their numbers.

        Returns:
            False, and nothing is done, when some before them are missing.
        """
        news = News(event for event in events if event.seq > self.end)
        if not news:
            return True
        if self.end and news[0].seq != self.end + 1:
            if not read:
                return False
            self._tail.clear()
            self._weight = 0
        self.end = news[-1].seq
        self._tail.append(news)
        self._weight += news.weight
        while self._weight > KEPT_BYTES:
            self._weight -= self._tail.popleft().weight
        self.wake(self.followers)
        return True

    def wake(self, followers: Iterable[Follower]) -> None:
        """Have some of the followers look what there is."""
        for one in followers:
            one.news.set()

    def after(self, since: int) -> News[E] | None:
        """Return the next events after a number, none when it is the last; None when they are kept no more."""
        if since >= self.end:
            return News()
        for news in reversed(self._tail):
            first = news[0].seq
            if first == since + 1:
                return news
            if first <= since:
                return News(islice(news, since + 1 - first, None))
        return None


class Feeds(Generic[E]):
    """The runs that are followed in this process.

    Args:
        read: returns up to ``PAGE`` events of each run after a number of its own, in order.
        spawn: does something that nobody waits for.
    """

    def __init__(
        self,
        read: Callable[[Mapping[str, int]], Awaitable[Sequence[E]]],
        spawn: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:
        self._read = read
        self._spawn = spawn
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stale: set[str] = set()
        self._reading = False
        self.here: dict[str, Feed[E]] = {}

    def hand_on(self, written: Iterable[E]) -> None:
        """Take the events of a commit, on the thread that wrote it."""
        ours: dict[str, list[E]] = {}
        for event in written:
            if event.run_id in self.here:
                ours.setdefault(event.run_id, []).append(event)
        loop = self._loop
        if loop is None or not ours:
            return
        if loop is asyncio._get_running_loop():
            self._push(ours)
        else:
            with suppress(RuntimeError):  # it has ended, and so has who followed
                loop.call_soon_threadsafe(self._push, ours)

    def _push(self, ours: Mapping[str, Sequence[E]]) -> None:
        known = [(run_id, self.here[run_id], events) for run_id, events in ours.items() if run_id in self.here]
        self.look([run_id for run_id, run, events in known if not run.push(events)])

    def look(self, run_ids: Iterable[str]) -> None:
        """Read what others have written to runs, once for all who follow them."""
        self._stale.update(run_ids)
        if self._stale and not self._reading:
            self._spawn(self._catch_up)

    async def _catch_up(self) -> None:
        if self._reading:
            return
        self._reading = True
        wanted: dict[str, int] = {}
        try:
            while wanted := self._wanted():
                found: dict[str, list[E]] = {run_id: [] for run_id in wanted}
                for event in await self._read(wanted):
                    found[event.run_id].append(event)
                for run_id, events in found.items():
                    if run_id in self.here:
                        self.here[run_id].push(events, read=True)
                    if len(events) >= PAGE:
                        self._stale.add(run_id)
        except BaseException:
            self._stale.update(wanted)
            raise
        finally:
            self._reading = False

    def _wanted(self) -> dict[str, int]:
        """Return some of the runs to be read, and from where on; who reads for himself has to do so once more."""
        wanted: dict[str, int] = {}
        while self._stale and len(wanted) < RUNS_A_READ:
            run_id = self._stale.pop()
            if (run := self.here.get(run_id)) is not None:
                run.wake(one for one in run.followers if one.behind)
                if (since := run.since) is not None:
                    wanted[run_id] = since
        return wanted

    def dismiss(self) -> None:
        """Have everybody read for himself, and so hear that this process has been stopped."""
        for run in self.here.values():
            for one in run.followers:
                one.behind = True
            run.wake(run.followers)

    async def follow(self, run_id: str, since: int) -> AsyncIterator[News[E]]:
        """Yield a run's events after number ``since`` as they come, for ever; none about once a second."""
        me = Follower(since)
        self._loop = asyncio.get_running_loop()
        run = self.here.setdefault(run_id, Feed())
        run.followers.append(me)
        try:
            while True:
                me.news.clear()
                found = run.after(me.since)
                if found is None or (me.behind and not found):
                    me.behind = True
                    found = News(await self._read({run_id: me.since}))
                    me.behind = len(found) >= PAGE or me.news.is_set()
                if found:
                    me.since = found[-1].seq
                    yield found
                elif not (me.behind or await me.told()):
                    yield found
        finally:
            run.followers.remove(me)
            if not run.followers:
                del self.here[run_id]
