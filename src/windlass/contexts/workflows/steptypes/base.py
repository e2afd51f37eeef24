"""A step type: its words, the schema of its config, and what it does."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from windlass.contexts.workflows.failures import StepFailure
from windlass.contexts.workflows.steptypes.outside import Outside
from windlass.kernel.errors import Unavailable, WindlassError

__all__ = [
    "Cache",
    "Capabilities",
    "Found",
    "SaveArtifact",
    "StepContext",
    "StepFailure",
    "StepType",
    "Tools",
    "Work",
    "save",
]


_log = logging.getLogger("windlass.workflows")
_NUMBERS = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What may be done again with a step of this type."""

    replay_safe: bool = False
    idempotency_strategy: Literal["none", "run_scoped", "asset_scoped", "external"] = "none"
    compensation_supported: bool = False
    requires_human_review_for_rerun: bool = False
    evidence_level: Literal["minimal", "standard", "detailed"] = "standard"


class Found(NamedTuple):
    """A kept value, its age in seconds, and whether it was kept just now."""

    value: Any
    age: float
    stored: bool = False


class SaveArtifact(Protocol):
    """Keeps a file as an artifact of the step that is running, once however often the step runs; returns its id."""

    async def __call__(
        self, name: str, content: bytes, *, mime: str, kind: str, metadata: Mapping[str, Any] | None = None
    ) -> str:
        """Keep a file: its name, content, media type, and what it is to the run."""
        ...


class Cache(Protocol):
    """Where the type ``cache_result`` keeps values, by tenant and key; values are JSON-ready."""

    async def get(self, tenant_id: str, key: str) -> Found | None:
        """Return a value and its age; None when there is none, or its time is up."""
        ...

    async def put(self, tenant_id: str, key: str, value: Any, ttl_seconds: float, *, replace: bool) -> Found:
        """Keep a value for so long, unless there is one and it is not to be replaced; returns what is kept now.

        Raises:
            StepFailure: it is too large, or no JSON.
        """
        ...

    async def drop(self, tenant_id: str, key: str) -> bool:
        """Forget a value; whether there was one."""
        ...


def log_line(level: str, message: str, context: StepContext) -> None:
    """Write a line of a step to the log of this process."""
    number = _NUMBERS[level]
    if _log.isEnabledFor(number):
        fields = {"run_id": context.run_id, "step_id": context.step_id, "tenant_id": context.tenant_id}
        _log.log(number, message, extra=fields)


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
    save_artifact: SaveArtifact | None = None
    """Keeps files as artifacts of steps."""
    threads: Executor | None = None
    """Where plain functions of the type ``python`` run; None is the loop's own threads."""
    outbound: Outside | None = None
    """The way to other hosts, for ``webhook`` and ``notify``."""


async def save(tools: Tools, name: str, content: bytes, *, mime: str, kind: str) -> str:
    """Keep a file as an artifact of the step that is running, and return its id.

    Raises:
        StepFailure: nothing keeps artifacts here, or not this one.
    """
    if tools.save_artifact is None:
        raise StepFailure("unsupported", "nothing keeps artifacts here", retryable=False)
    try:
        return await tools.save_artifact(name, content, mime=mime, kind=kind)
    except Unavailable:
        raise
    except WindlassError as error:
        raise StepFailure("artifact_refused", error.message, retryable=False) from error


class StepContext(NamedTuple):
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
    traceparent: str | None = None


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
    compiled: Mapping[str, Callable[[Any], object]] = field(default_factory=dict)
    """Config fields that are compiled before they are used, and what does so, raising StepFailure where it cannot."""
    min_engine_version: str = "0.1.0"
