"""A run that goes on where another one stood: what had been done is taken over, the rest is done anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from windlass.contexts.workflows.model import Definition
from windlass.contexts.workflows.runs.projection import step_runs
from windlass.engine.types import TERMINAL, Event, Status
from windlass.kernel.errors import Issue, ValidationFailed


@dataclass(frozen=True, slots=True)
class Fork:
    """A wanted fork.

    ``from_step`` is the first step to be done; ``inputs`` are instead of the other run's, ``secrets`` those of the new
    run: the other's are not taken over. ``key`` starts it once. ``batch`` names the bulk request it is part of, whose
    own forks are not forked in turn, and ``batch_says`` what that asks for.
    """

    from_step: str
    inputs: Mapping[str, Any] | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    batch: str | None = None
    batch_says: Any = None

    def said(self, run_id: str) -> dict[str, Any]:
        """Return what a fork of a run is told from another request by."""
        return {"fork": run_id, "from_step": self.from_step, "inputs": self.inputs, "batch": self.batch_says}


def unfit(action: str, status: str) -> str | None:
    """Return why an action leaves runs of a status alone, or None where it does something to them."""
    if action == "retry" and status != Status.FAILED:
        return f"run is {status}, only a failed run can be retried"
    if action == "resume" and status != Status.PAUSED:
        return f"run is {status}, not paused"
    if action in {"pause", "cancel"} and (status in TERMINAL or (action, status) == ("pause", Status.PAUSED)):
        return f"run is {status}"
    return None


@dataclass(frozen=True, slots=True)
class Seed:
    """What a run begins with: the step it starts at, and the outputs of those before it, in order."""

    start: str
    outputs: tuple[tuple[str, Any], ...]

    def packed(self) -> dict[str, Any]:
        """Return it as a run's input keeps it."""
        return {"start": self.start, "outputs": [list(pair) for pair in self.outputs]}

    @classmethod
    def unpacked(cls, value: Mapping[str, Any]) -> Seed:
        """Return what ``packed`` has made of one."""
        return cls(value["start"], tuple((step_id, outputs) for step_id, outputs in value["outputs"]))


def again(definition: Definition, start: str) -> list[str]:
    """Return the steps that may run when a definition is carried out from one of them on.

    Raises:
        ValidationFailed: it has no such step.
    """
    ids = [step.id for step in definition.steps]
    if start not in ids:
        message = f"Input should be a step of the definition: {', '.join(ids[:20])}"
        raise ValidationFailed([Issue(("body", "from_step"), message, "value_error")])
    if not definition.is_graph:
        return ids[ids.index(start) :]
    found = {start}
    while True:
        more = {step.id for step in definition.steps if step.id not in found and found & _before(definition, step.id)}
        if not more:
            return [step_id for step_id in ids if step_id in found]
        found |= more


def _before(definition: Definition, step_id: str) -> set[str]:
    found: set[str] = set()
    for step in definition.steps:
        targets = {step.on_success, step.on_failure, step.on_timeout}
        if step.type == "branch":
            targets |= {step.config.get("true_next"), step.config.get("false_next")}
        if step_id in targets:
            found.add(step.id)
        if step.id == step_id:
            found |= set(step.depends_on)
    return found


def seed_of(definition: Definition, events: Iterable[Event], start: str) -> Seed:
    """Return what a fork takes over from a run: the last outputs of each step that is not done again.

    Raises:
        ValidationFailed: the definition has no such step.
    """
    anew = set(again(definition, start))
    known: dict[str, Any] = {}
    for one in step_runs(events, ""):
        if one.status == "succeeded" and one.step_id not in anew and one.path.count("#") == 1:
            known.pop(one.step_id, None)
            known[one.step_id] = one.outputs
    return Seed(start, tuple(known.items()))
