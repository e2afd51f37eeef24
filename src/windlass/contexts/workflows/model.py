"""A definition as the interpreter reads it: what a valid document says, with nothing left to check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from windlass.contexts.workflows.schemas import object_schema

END = "_end"
"""A target that finishes the run early."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """A bounded loop around one step: again while ``while_`` holds, or until ``until`` does, at most ``most`` times."""

    while_: str | None
    until: str | None
    most: int


@dataclass(frozen=True, slots=True)
class Compensation:
    """What undoes a step that succeeded when the run fails later."""

    type: str
    config: Mapping[str, Any]
    retry: int | None = None
    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    ``retry`` is how many attempts follow the first; None means the type's default. ``when`` is a condition without
    which the step is skipped. ``depends_on`` makes the definition a graph, see ``Definition.is_graph``.
    """

    id: str
    type: str
    name: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    retry: int | None = None
    timeout_seconds: float | None = None
    on_success: str | None = None
    on_failure: str | None = None
    on_timeout: str | None = None
    depends_on: tuple[str, ...] = ()
    when: str | None = None
    repeat: Repeat | None = None
    compensate: Compensation | None = None


@dataclass(frozen=True, slots=True)
class CompletionWebhook:
    """Who hears of the end of a run."""

    url: str
    include_outputs: bool = True


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition. ``inputs`` and ``outputs`` are JSON Schemas of objects, or None where nothing was said."""

    name: str
    version: int
    steps: tuple[Step, ...]
    description: str | None = None
    tags: tuple[str, ...] = ()
    inputs: Mapping[str, Any] | None = None
    outputs: Mapping[str, Any] | None = None
    on_completion_webhook: CompletionWebhook | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_graph(self) -> bool:
        """Whether any step says what it depends on; otherwise steps follow one another in order and by their targets.

        In a graph ``on_success`` is one more dependency of its target, ``on_failure``, ``on_timeout`` and the targets
        of a branch start theirs only when they are taken, and every other step without dependencies starts at once.
        """
        return any(step.depends_on for step in self.steps)


def read(document: Mapping[str, Any]) -> Definition:
    """Return what a valid document says."""
    webhook = document.get("on_completion_webhook")
    if isinstance(webhook, str):
        webhook = {"url": webhook}
    return Definition(
        name=document["name"],
        version=document.get("version", 1),
        steps=tuple(read_step(step) for step in document["steps"]),
        description=document.get("description"),
        tags=tuple(document.get("tags") or ()),
        inputs=object_schema(document.get("inputs")),
        outputs=object_schema(document.get("outputs")),
        on_completion_webhook=None if webhook is None else CompletionWebhook(**webhook),
        metadata=document.get("metadata") or {},
    )


def read_step(document: Mapping[str, Any]) -> Step:
    """Return what a valid step says."""
    repeat, undo = document.get("repeat"), document.get("compensate")
    known = {key: value for key, value in document.items() if value is not None}
    known.pop("repeat", None)
    known.pop("compensate", None)
    return Step(
        **{**known, "depends_on": tuple(known.get("depends_on", ()))},
        repeat=None if repeat is None else Repeat(repeat.get("while"), repeat.get("until"), repeat["max_iterations"]),
        compensate=None if undo is None else Compensation(**undo),
    )
