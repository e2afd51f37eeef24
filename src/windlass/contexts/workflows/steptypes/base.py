"""A step type: its words, the schema of its config, and what it does."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from windlass.contexts.workflows.failures import StepFailure
from windlass.contexts.workflows.steptypes.outside import Outside

__all__ = ["Cache", "Capabilities", "StepContext", "StepFailure", "StepType", "Tools", "Work"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What may be done again with a step of this type."""

    replay_safe: bool = False
    idempotency_strategy: Literal["none", "run_scoped", "asset_scoped", "external"] = "none"
    compensation_supported: bool = False
    requires_human_review_for_rerun: bool = False
    evidence_level: Literal["minimal", "standard", "detailed"] = "standard"


class Cache(Protocol):
    """Where the type ``cache_result`` keeps values, by tenant and key; values are JSON-ready."""

    async def get(self, tenant_id: str, key: str) -> tuple[Any, float] | None:
        """Return a value and its age in seconds; None when there is none, or its time is up."""
        ...

    async def put(self, tenant_id: str, key: str, value: Any, ttl_seconds: float) -> None:
        """Keep a value for so long."""
        ...

    async def drop(self, tenant_id: str, key: str) -> bool:
        """Forget a value; whether there was one."""
        ...


def log_line(level: str, message: str, context: StepContext) -> None:
    """Write a line of a step to the log of this process."""
    fields = {"run_id": context.run_id, "step_id": context.step_id, "tenant_id": context.tenant_id}
    logging.getLogger("windlass.workflows").log(logging.getLevelName(level.upper()), message, extra=fields)


@dataclass(frozen=True, slots=True)
class Tools:
    """What the surroundings lend to steps; each has a field here."""

    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    """Functions registered in code, for the type ``python``."""
    log: Callable[[str, str, StepContext], None] = log_line
    """Where ``log`` writes: a level, the message, and who says it."""
    redact_logs: bool = True
    """WORKFLOWS_REDACT_LOGS: whether what looks like personal data is blacked out first."""
    files_root: Path | None = None
    """WORKFLOWS_FILE_BASE_DIR: the only folder whose files steps may read; None is none."""
    cache: Cache | None = None
    """Where ``cache_result`` keeps values."""
    save_artifact: Callable[[StepContext, str, str, bytes], Awaitable[None]] | None = None
    """Keeps bytes as an artifact of a step: name, media type, content."""
    threads: Executor | None = None
    """Where plain functions of the type ``python`` run; None is the loop's own threads."""
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
    outputs: Mapping[str, str] = field(default_factory=dict)
    """What it answers, each with its meaning."""
    min_engine_version: str = "0.1.0"
