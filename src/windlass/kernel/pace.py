"""How often a process of many asks the database, and when its turn comes to look for what all of them hear of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

POLLS = 5
"""Beyond so many idle processes each asks less often, so that all together ask no more than so many do."""
TURN_SECONDS = 0.005
"""How much time each process of a fleet has at least to take what was rung for before the next one looks."""
LATEST_TURN = 0.5
PAIR = 2
"""So many processes need no turns."""


class Pace:
    """What one process knows of the others.

    ``fleet`` is how many live processes take runs, this one included, as the last poll said. An idle process of many
    asks less often, so that its fleet asks as often as a small one; while it holds runs or is waited for it does not.
    ``took`` is how many seconds the last poll took: where looking is slow, turns are as much longer.

    Args:
        lease_seconds: within a third of that somebody has to see that another is dead, whatever the fleet.
    """

    def __init__(self, lease_seconds: float) -> None:
        self.fleet = 1
        self.idle = True
        self.took = 0.0
        self._longest = lease_seconds / 3
        self._turn: asyncio.TimerHandle | None = None

    @property
    def stretch(self) -> float:
        """How much longer than usual this process waits between two polls."""
        return max(1.0, min(self.fleet / POLLS, self._longest)) if self.idle else 1.0

    def take_turn(self, claim: Callable[[], None], look: Callable[[], None], random: Callable[[], float]) -> None:
        """Claim at once; when many have heard the same, look first, each at a time of its own: one of them has it."""
        if self.fleet <= PAIR:
            claim()
        elif self._turn is None:
            pause = random() * min(self.fleet * max(TURN_SECONDS, self.took), LATEST_TURN)
            self._turn = asyncio.get_running_loop().call_later(pause, self._look, look)

    def _look(self, look: Callable[[], None]) -> None:
        self._turn = None
        look()
