"""What the surroundings lend to runs of definitions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from windlass.contexts.workflows.steptypes.base import Tools
from windlass.contexts.workflows.steptypes.registry import StepTypes
from windlass.kernel.spans import NO_SPANS, TRACEPARENT, Spans

NAME = "workflow_name"
"""The attribute of a run that names its definition."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Whose run it is. ``secrets`` are the names of those it was given; ``callers`` the definitions above it;
    ``traceparent`` the trace that it belongs to.
    """

    run_id: str
    tenant_id: str
    user_id: str | None
    secrets: tuple[str, ...] = ()
    callers: tuple[int, ...] = ()
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What people decided; ``timed_out`` when nobody did."""

    decision: str
    outputs: Mapping[str, Any]
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """What people are asked by a step; of ``fail_on`` (``rejected``, ``timed_out``) the step is to fail."""

    kind: str
    step_id: str
    config: Mapping[str, Any]
    fail_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Callee:
    """A saved definition that a run is about to call: its stored document and name, inputs that fit, its lane.

    ``traceparent`` is the span of the run that calls.
    """

    workflow_id: int
    digest: str
    inputs: Mapping[str, Any]
    lane: str = ""
    name: str = ""
    traceparent: str | None = None

    @property
    def attributes(self) -> dict[str, str]:
        """What its run is found by, and belongs to."""
        said = {NAME: self.name or None, TRACEPARENT: self.traceparent}
        return {name: value for name, value in said.items() if value is not None}


class Saved(Protocol):
    """The saved definitions."""

    async def callee(self, facts: Facts, config: Mapping[str, Any]) -> Callee:
        """Return what a ``workflow_call`` is to run.

        Raises:
            StepFailure: there is no such definition for this run's owner, or the inputs do not fit.
        """
        ...


Ask = Callable[[Facts, Question], Awaitable[Verdict]]


@dataclass(frozen=True, slots=True)
class Kit:
    """The means of every run.

    ``secrets`` returns those of a run, or None when they are gone; ``forget`` drops them; ``check_schema`` returns a
    complaint about a value.
    """

    types: StepTypes
    check_schema: Callable[[Mapping[str, Any], Any], str | None]
    secrets: Callable[[str], Awaitable[Mapping[str, str] | None]]
    forget: Callable[[str], Awaitable[None]]
    tools: Tools
    ask: Ask
    saved: Saved
    start_detached: Callable[[Facts, Callee, str], Awaitable[str]]
    call: Callable[[Facts, Callee], Awaitable[Any]]
    spans: Spans = NO_SPANS
