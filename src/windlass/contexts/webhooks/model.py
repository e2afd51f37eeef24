"""What webhooks are made of."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from windlass.contexts.webhooks.signing import Secrets
from windlass.kernel.clock import SECOND
from windlass.kernel.spans import TRACEPARENT

Status = Literal["delivered", "failed", "blocked"]

DENIED = "denied_by_policy"
"""The reason of what the egress policy refuses."""
LEAST_PAUSE = 1.0
"""Seconds between two attempts, at least."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something to deliver.

    ``webhook_id`` is the same for every attempt, ``body`` is exactly what is sent, ``run_id`` the run it tells of (its
    journal gets an event for every attempt), ``headers`` are sent beside those of the signature.
    """

    webhook_id: str
    url: str
    body: str
    tenant_id: str = "default"
    run_id: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    scheme: str = "v1"


class Attempt(TypedDict):
    """What became of an attempt; ``reason`` is a word and ``error`` a sentence, for those that failed."""

    status: str
    code: int | None
    reason: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Completion:
    """The end of a run, as a completion webhook tells it; times are ISO 8601 text.

    ``workflow_id`` is None for a run without a saved definition. ``scheme`` None means what the settings say.
    """

    url: str
    run_id: str
    status: str
    tenant_id: str = "default"
    workflow_id: int | None = None
    workflow_name: str | None = None
    workflow_version: int | None = None
    user_id: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    duration_ms: int | None = None
    error: Any = None
    outputs: Any = None
    include_outputs: bool = True
    scheme: str | None = None
    traceparent: str | None = None

    def body(self, status: str) -> str:
        """Return the body for a run that ended with this status, with the separators of Python's ``json``."""
        told: dict[str, Any] = {
            "workflow": {"id": self.workflow_id, "name": self.workflow_name, "version": self.workflow_version},
            "run": {
                "id": self.run_id, "status": status, "user_id": self.user_id, "started_at": self.started_at,
                "ended_at": self.ended_at, "duration_ms": self.duration_ms, "error": self.error,
            },
        }  # fmt: skip
        if self.include_outputs and self.outputs is not None:
            told["result"] = {"outputs": self.outputs}
        return json.dumps(told)

    def headers(self) -> dict[str, str]:
        """Return the headers that say what it is of."""
        named = {"X-Workflow-Id": "" if self.workflow_id is None else str(self.workflow_id), "X-Run-Id": self.run_id}
        return named if self.traceparent is None else {**named, TRACEPARENT: self.traceparent}


Describe = Callable[[str], Awaitable[Completion | None]]
"""Returns the end of a run by its id, or None when nobody wants to hear of it."""


@dataclass(frozen=True, slots=True)
class Options:
    """How webhooks are delivered; times are seconds. See the settings of the same names."""

    secrets: Secrets = field(default_factory=Secrets)
    scheme: str = "v1"
    timeout: float = 10.0
    completions: bool = True
    base: float = 30.0
    most_backoff: float = 3600.0
    attempts: int = 8
    worker: bool = False
    worker_interval: float = 15.0
    worker_batch: int = 25
    worker_timeout: float = 10.0

    def pause(self, attempts: int, dice: float) -> float:
        """Return the seconds to wait after this many attempts; ``dice`` is uniform in 0..1."""
        longest = min(self.most_backoff, self.base * 2.0 ** min(attempts, 64))
        return float(max(LEAST_PAUSE, longest * (0.8 + 0.4 * dice)))

    def rest(self, dice: float) -> int:
        """Return the microseconds between two attempts of the worker for dead letters."""
        return int(self.most_backoff * (0.8 + 0.4 * dice) * SECOND)


def category(code: int | None, reason: str | None) -> str:
    """Return whether another attempt may help: ``transient_error``, ``permanent_error`` or ``unknown_error``."""
    if code is not None:
        return "transient_error" if code in {408, 425, 429} or code >= 500 else "permanent_error"
    if reason in {"timeout", "network_error", "unresolved"}:
        return "transient_error"
    return "permanent_error" if reason in {DENIED, "bad_header"} else "unknown_error"


def plain_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a delivery with its content type."""
    return {"content-type": "application/json", **headers}
