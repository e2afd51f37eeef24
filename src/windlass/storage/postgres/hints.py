"""What a session's transactions usually ask first, so that it can be asked along with their BEGIN."""

from __future__ import annotations

KEPT = 32
"""For how many transactions a question is repeated that nobody asks any more."""


class Hints:
    """Remembers the holder whose lease is checked, and whether limited queues are asked for."""

    def __init__(self) -> None:
        self._holder: str | None = None
        self._lease_left = 0
        self._queues_left = 0

    @property
    def holder(self) -> str | None:
        """The holder whose lease is worth asking for."""
        return self._holder if self._lease_left > 0 else None

    @property
    def queues(self) -> bool:
        """Whether limited queues are worth asking for."""
        return self._queues_left > 0

    def begin(self) -> None:
        """Hear that a transaction begins."""
        self._lease_left -= 1
        self._queues_left -= 1

    def asked_lease(self, holder: str) -> None:
        """Hear that somebody asked whether a lease is live."""
        self._holder = holder
        self._lease_left = KEPT

    def asked_queues(self) -> None:
        """Hear that somebody asked for the limited queues."""
        self._queues_left = KEPT
