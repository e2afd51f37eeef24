"""What the engine and the contexts tell about themselves; an edge turns it into logs and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

NOTHING: Mapping[str, str] = MappingProxyType({})


class Telemetry(Protocol):
    """Hears what happens. Must not block or raise; times are milliseconds."""

    def event(self, name: str, **fields: object) -> None:
        """Hear of something an operator may want to know; a warning, unless ``level`` is among the fields."""
        ...

    def run_started(self, workflow: str, run_id: str, tenant: str, attributes: str) -> None:
        """Hear that a run begins in this process, with nothing done yet; ``attributes`` are JSON text."""
        ...

    def run_finished(self, workflow: str, run_id: str, status: str, tenant: str, took: float) -> None:
        """Hear that a run ended in this process, so long after it began."""
        ...

    def step_started(self, workflow: str, run_id: str, step: str, kind: str) -> None:
        """Hear that a step, known by its path in the run, begins with its first attempt."""
        ...

    def step_ended(
        self, workflow: str, run_id: str, step: str, tenant: str, kind: str, status: str, took: float
    ) -> None:
        """Hear that a step has ``succeeded`` or ``failed``; ``took`` is the time of its last attempt."""
        ...

    def count(self, name: str, of: Mapping[str, str] = NOTHING, **labels: str) -> None:
        """Count one more of something that a context counts; ``of`` says what it was, to who looks for a fault."""
        ...


class Silent:
    """Telemetry that nobody listens to."""

    def event(self, name: str, **fields: object) -> None:
        """Ignore an event."""

    def run_started(self, workflow: str, run_id: str, tenant: str, attributes: str) -> None:
        """Ignore the start of a run."""

    def run_finished(self, workflow: str, run_id: str, status: str, tenant: str, took: float) -> None:
        """Ignore the end of a run."""

    def step_started(self, workflow: str, run_id: str, step: str, kind: str) -> None:
        """Ignore the start of a step."""

    def step_ended(
        self, workflow: str, run_id: str, step: str, tenant: str, kind: str, status: str, took: float
    ) -> None:
        """Ignore the end of a step."""

    def count(self, name: str, of: Mapping[str, str] = NOTHING, **labels: str) -> None:
        """Ignore a count."""
