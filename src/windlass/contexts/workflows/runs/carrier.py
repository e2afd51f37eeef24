"""What the controls and the graph ask of the run they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from windlass.contexts.workflows.runs.kit import Facts, Kit
from windlass.contexts.workflows.runs.outcome import Outcome
from windlass.contexts.workflows.runs.plan import Plan, Planned

Names = dict[str, Any]


class Carrier(Protocol):
    """One run of a definition."""

    plan: Plan
    facts: Facts
    kit: Kit
    names: Names
    seeded: dict[str, Outcome]

    async def perform(self, planned: Planned, names: Names) -> Outcome:
        """Carry one step out, with its condition and its loop."""
        ...

    async def call(self, planned: Planned, names: Mapping[str, Any]) -> Any:
        """Run the engine step of a step."""
        ...

    def after(self, planned: Planned, outcome: Outcome) -> str | None:
        """Return where to go after a step; None is the next in the list."""
        ...

    def keep(self, planned: Planned, outcome: Outcome, names: Names) -> None:
        """Put a step's outputs under its name; note that it may have to be undone."""
        ...

    def show(self, step_id: str, outcome: Outcome, names: Names) -> None:
        """Put a step's outputs under its name."""
        ...
