"""One wall time for all hosts of a fleet: the server's."""

from __future__ import annotations

from windlass.kernel.clock import SECOND, SystemClock

TOLERANCE = SECOND
"""Microseconds that a host may be off before its clock is corrected: what is less, nobody notices."""


class ServerClock(SystemClock):
    """The machine's clock, set by the server's.

    A host whose own clock is minutes off would wake the sleeping runs of all the others early, and its own late.
    """

    def machine(self) -> int:
        """Return what the machine says."""
        return self.now() - self.correction

    def compare(self, server: int, asked: float) -> None:
        """Hear the server's time, in microseconds, for which it was asked at a monotonic time."""
        trip = int((self.monotonic() - asked) * SECOND)
        correction = server - (self.machine() - trip // 2)
        if abs(correction - self.correction) > TOLERANCE + trip:
            self.correction = correction
