"""What the engine tells about itself; an edge turns it into logs and metrics."""

from __future__ import annotations

from typing import Protocol


class Telemetry(Protocol):
    """Hears what happens. Must not block or raise."""

    def event(self, name: str, **fields: object) -> None:
        """Hear of something an operator may want to know."""
        ...

    def run_finished(self, workflow: str, status: str) -> None:
        """Hear that a run ended in this process."""
        ...

    def count(self, name: str, **labels: str) -> None:
        """Count one more of something that a context counts."""
        ...


class Silent:
    """Telemetry that nobody listens to."""

    def event(self, name: str, **fields: object) -> None:
        """Ignore an event."""

    def run_finished(self, workflow: str, status: str) -> None:
        """Ignore the end of a run."""

    def count(self, name: str, **labels: str) -> None:
        """Ignore a count."""
