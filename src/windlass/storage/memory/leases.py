"""Who is alive: leases that are renewed as long as nobody says otherwise, by a clock that may be a simulation's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from windlass.engine.types import Lease
from windlass.kernel.clock import SECOND, Clock


class LeaseRow(NamedTuple):
    """A process as the database knows it: its lease was taken at ``at`` and lasts ``ttl``, both microseconds."""

    lease: Lease
    at: int
    ttl: int
    dead: bool = False


@dataclass(slots=True)
class KeptLease:
    """A lease that its process renews all the time, until it is frozen."""

    ttl: float
    lost: Callable[[], None]
    valid_until: float = math.inf


class Life:
    """The processes of a store, outside of any transaction: a crash is not rolled back."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, KeptLease] = {}
        self._renewed: dict[str, int] = {}
        self._killed: set[str] = set()

    @contextmanager
    def keep(self, holder: str, ttl: float, lost: Callable[[], None]) -> Iterator[KeptLease]:
        """Renew a lease until closed; then it runs out by the clock."""
        kept = self._kept[holder] = KeptLease(ttl, lost)
        try:
            yield kept
        finally:
            self._renewed[holder] = self._clock.now()
            del self._kept[holder]

    def is_live(self, holder: str, row: LeaseRow | None) -> bool:
        """Say whether a lease holds now."""
        if row is None or row.dead or holder in self._killed:
            return False
        kept = self._kept.get(holder)
        if kept is not None and kept.valid_until == math.inf:
            return True
        return self._clock.now() < self._renewed.get(holder, row.at) + row.ttl

    def kill(self, holder: str) -> None:
        """Let everybody see at once that a process is gone, as the lock of a file does."""
        self._killed.add(holder)

    def freeze(self, holder: str) -> None:
        """Stop renewing, as a process that is stopped or cut off does: its lease runs out by the clock."""
        kept = self._kept[holder]
        kept.valid_until = self._clock.monotonic() + kept.ttl
        self._renewed[holder] = self._clock.now()

    def thaw(self, holder: str, row: LeaseRow | None) -> None:
        """Renew again, or tell the process that its lease is lost."""
        kept = self._kept[holder]
        if self.is_live(holder, row):
            kept.valid_until = math.inf
        else:
            kept.lost()


def micros(seconds: float) -> int:
    """Return a time to live in microseconds."""
    return int(seconds * SECOND)
