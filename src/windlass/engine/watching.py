"""Following a run's events: whoever writes to a run that is followed, here or elsewhere, says so.

What this process commits is handed on as it was written. A process tells the others which runs are followed in it;
those ring it after each commit that touches one. Nobody who writes asks the database who follows, and nobody who
follows asks it anything while nothing happens.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable, Mapping, Sequence

from windlass.engine.types import Event
from windlass.kernel.feed import Feeds, News

KEPT_RENEWALS = 3
"""What another process asked for is forgotten when it was not asked for again in so many renewals of our own."""


class Audience(Feeds[Event]):
    """Who follows which run, in this process and in the others.

    Args:
        announce: tells the other processes which runs are followed here.
        read, spawn: see ``Feeds``.
    """

    def __init__(
        self,
        announce: Callable[[Iterable[str]], None],
        read: Callable[[Mapping[str, int]], Awaitable[Sequence[Event]]],
        spawn: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:
        super().__init__(read, spawn)
        self._announce = announce
        self._renewals = 0
        self.asked: dict[str, int] = {}
        """The runs that others follow, and when they last said so."""

    def hear(self, written: Sequence[Event]) -> set[str]:
        """Hand on the events of a commit, on the thread that wrote it; returns which of its runs others follow."""
        if self.here:
            self.hand_on(written)
        return {event.run_id for event in written if event.run_id in self.asked} if self.asked else set()

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

    def look_elsewhere(self, held: Container[str]) -> None:
        """Look once for all runs that are followed here and held elsewhere: a doorbell may get lost."""
        self.look([run_id for run_id in self.here if run_id not in held])

    def follow(self, run_id: str, since: int) -> AsyncIterator[News[Event]]:
        """Yield a run's events after number ``since`` as they come, for ever; none about once a second."""
        if run_id not in self.here:
            self._announce([run_id])
        return super().follow(run_id, since)
