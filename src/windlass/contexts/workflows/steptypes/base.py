"""A step type: its words, the schema of its config, and what it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from windlass.contexts.workflows.steptypes.outside import Outside


class StepFailure(Exception):
    """A step has failed; the reason is for people, the code for programs.

    Args:
        code: lower case with underscores, ``validation_error`` for example.
        message: what is wrong and where.
        retryable: whether another attempt may succeed.
        data: JSON-ready details.
    """

    def __init__(self, code: str, message: str, *, retryable: bool = True, **data: object) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retryable = retryable
        self.data = data


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What may be done again with a step of this type."""

    replay_safe: bool = False
    idempotency_strategy: Literal["none", "run_scoped", "asset_scoped", "external"] = "none"
    compensation_supported: bool = False
    requires_human_review_for_rerun: bool = False
    evidence_level: Literal["minimal", "standard", "detailed"] = "standard"


@dataclass(frozen=True, slots=True)
class Tools:
    """What the surroundings lend to steps; each has a field here."""

    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    """Functions registered in code, for the type ``python``."""
    outbound: Outside | None = None
    """The way to other hosts, for ``webhook`` and ``notify``."""


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a step may know about where it runs. ``secrets`` never leave memory: return none of them."""

    run_id: str
    step_id: str
    attempt: int
    tenant_id: str
    user_id: str | None
    idempotency_key: str
    names: Mapping[str, Any]
    secrets: Mapping[str, str]
    tools: Tools


Work = Callable[[Mapping[str, Any], StepContext], Awaitable[dict[str, Any]]]
"""Gets the config, templates resolved, and returns the step's outputs.

Raises:
    StepFailure: it failed; nothing of an error is ever returned as an output.
"""


@dataclass(frozen=True, slots=True)
class StepType:
    """One type. ``work`` is None for those that the interpreter carries out itself (branch, map, waits, ...).

    ``raw`` names config fields whose templates the type resolves itself (a sub-step of a map, a condition).
    """

    name: str
    description: str
    schema: Mapping[str, Any]
    example: Mapping[str, Any]
    work: Work | None = None
    capabilities: Capabilities = Capabilities()
    mapable: bool = False
    default_retry: int = 0
    raw: frozenset[str] = frozenset()
    min_engine_version: str = "0.1.0"
