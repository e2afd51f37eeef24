"""A definition made ready to run: templates compiled, engine steps made, once per version and process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from windlass.contexts.workflows.model import Definition, Step
from windlass.contexts.workflows.steptypes.base import StepType
from windlass.contexts.workflows.steptypes.registry import Prepared, StepTypes
from windlass.contexts.workflows.templates import names_in
from windlass.engine.step import Step as EngineStep
from windlass.kernel.retry import RetryPolicy

SPEAKING = frozenset({"webhook", "notify"})
"""Types that look into the secrets by themselves, to sign and to log in."""
ATTEMPT_SECONDS = 300.0
"""How long an attempt may take where the definition does not say."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say of attempts: the longest pause in seconds, and how often a type is tried again at most."""

    backoff_cap: float = 8.0
    most_retries: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Planned:
    """A step that can be carried out. ``call`` runs it (or what stands for it) as a step of the engine.

    ``wants_secrets`` says that something in its config, or its type, may ask for the run's secrets.
    """

    step: Step
    type: StepType
    config: Prepared
    call: EngineStep[[], Any]
    wants_secrets: bool


class Frame(NamedTuple):
    """What a step that is being carried out needs to know: itself, the names its templates see, its run."""

    planned: Planned
    names: Mapping[str, Any]
    run: Any


FRAME: ContextVar[Frame] = ContextVar("windlass_frame")


class Planner:
    """Makes steps.

    Args:
        types: the step types.
        execute: what every engine step does; it looks at ``FRAME``.
        rules: what the settings say.
    """

    def __init__(self, types: StepTypes, execute: Callable[[], Any], rules: Rules) -> None:
        self._types = types
        self._execute = execute
        self._rules = rules

    def plan(self, step: Step) -> Planned:
        """Return a step ready to run."""
        kind = self._types.of(step.type)
        retries = kind.default_retry if step.retry is None else step.retry
        cap = self._rules.backoff_cap
        policy = RetryPolicy(
            min(retries, self._rules.most_retries.get(step.type, retries)), backoff=1.0, factor=2.0, cap=max(1.0, cap)
        )
        call: EngineStep[[], Any] = EngineStep(
            self._execute,
            name=step.id,
            policy=policy,
            timeout=step.timeout_seconds or ATTEMPT_SECONDS,
            abandon=False,
            transactional=False,
            kind=step.type,
        )
        named = any(name.partition(".")[0] == "secrets" for name in names_in(step.config))
        wants = named or step.type in SPEAKING
        return Planned(step, kind, self._types.prepare(step.type, step.config), call, wants)

    def nested(self, document: Mapping[str, Any], name: str, outer: Step) -> Planned:
        """Return the sub-step of a map, a parallel or a retry; what it does not say, the outer step says."""
        said = {key: document.get(key) for key in ("retry", "timeout_seconds")}
        return self.plan(
            Step(
                id=name,
                type=document["type"],
                name=document.get("name"),
                config=document.get("config") or {},
                retry=outer.retry if said["retry"] is None else said["retry"],
                timeout_seconds=said["timeout_seconds"] or outer.timeout_seconds,
            )
        )


class Plan:
    """A whole definition, ready to run."""

    def __init__(self, definition: Definition, planner: Planner) -> None:
        self.definition = definition
        self.is_graph = definition.is_graph
        self.planner = planner
        self.steps = [planner.plan(step) for step in definition.steps]
        self.places = {step.id: place for place, step in enumerate(definition.steps)}
        self.undo = {
            step.id: planner.plan(
                Step(
                    id=f"{step.id}.compensate",
                    type=step.compensate.type,
                    config=step.compensate.config,
                    retry=step.compensate.retry,
                    timeout_seconds=step.compensate.timeout_seconds,
                )
            )
            for step in definition.steps
            if step.compensate is not None
        }
        self.nested: dict[tuple[str, str], Planned] = {}

    def inner(self, outer: Planned, document: Mapping[str, Any], name: str) -> Planned:
        """Return the sub-step of a step, made once."""
        key = (outer.step.id, name)
        known = self.nested.get(key)
        if known is None:
            known = self.nested[key] = self.planner.nested(document, name, outer.step)
        return known
