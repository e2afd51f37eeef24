"""Definitions to try things with, and the step types they may use."""

from typing import Any

from windlass.contexts.workflows.definitions.catalogue import Registered
from windlass.contexts.workflows.steptypes.base import StepType
from windlass.contexts.workflows.steptypes.registry import StepTypes


def _catalogue() -> Registered:
    types = StepTypes()
    if not types.known("webhook"):  # it comes with what sends
        types.add(StepType("webhook", "Send", {"type": "object", "properties": {}}, {}, mapable=True))
    return Registered(types)


CATALOGUE = _catalogue()
"""Every step type there is."""


def log(step_id: str, **fields: Any) -> dict[str, Any]:
    """A step that writes to the log."""
    return {"id": step_id, "type": "log", "config": {"message": step_id}, **fields}


def definition(steps: list[Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A definition, of two steps unless others are given."""
    return {"name": "example", "steps": [log("a"), log("b")] if steps is None else steps, **fields}
