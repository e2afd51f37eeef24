"""What is counted of workflows written as documents: their runs and steps, by the names of the contract (section 6).

Labels are bounded: of tenants the first hundred of a process are told apart, the others are ``other``.
"""

from __future__ import annotations

from typing import Any

import orjson

from windlass.contexts.workflows.api import RUN

MOST_VALUES = 100
OTHER = "other"
RUN_BUCKETS = (50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 120_000)
STEP_BUCKETS = (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)
"""Milliseconds."""
_INNER = "step"
"""The type of the steps that carrying a definition out takes besides its own."""
_TROUBLES = {"webhooks.letters_not_taken": "fetch_failed"}
"""What the engine tells of the queue of undelivered webhooks, and the contract's name for it."""


class Few:
    """Keeps the values of a label few."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def of(self, value: str) -> str:
        """Return a value, or ``other`` where there have been a hundred before it."""
        if value not in self._known:
            if len(self._known) >= MOST_VALUES:
                return OTHER
            self._known.add(value)
        return value


class WorkflowMeter:
    """Counts runs and steps of definitions.

    Args:
        prometheus: the library.
        registry: where the metrics are kept.
    """

    def __init__(self, prometheus: Any, registry: Any) -> None:
        def counter(name: str, words: str, *labels: str) -> Any:
            return prometheus.Counter(name, words, labels, registry=registry)

        def histogram(name: str, words: str, buckets: tuple[int, ...], *labels: str) -> Any:
            return prometheus.Histogram(name, words, labels, buckets=buckets, registry=registry)

        self._started = counter("workflows_runs_started", "Runs of definitions that began.", "tenant", "mode")
        self._completed = counter("workflows_runs_completed", "Runs of definitions that succeeded.", "tenant")
        self._failed = counter("workflows_runs_failed", "Runs of definitions that failed.", "tenant")
        self._steps_started = counter("workflows_steps_started", "Steps that began.", "type")
        self._steps_succeeded = counter("workflows_steps_succeeded", "Steps that succeeded.", "type")
        self._steps_failed = counter("workflows_steps_failed", "Steps that failed after their last attempt.", "type")
        self._run_ms = histogram(
            "workflows_run_duration_ms", "From the beginning of a run to its end, in milliseconds.", RUN_BUCKETS,
            "tenant",
        )  # fmt: skip
        self._step_ms = histogram(
            "workflows_step_duration_ms", "What the last attempt of a step took, in milliseconds.", STEP_BUCKETS,
            "type", "tenant",
        )  # fmt: skip
        self._exceptions = counter("app_exception_events", "Faults of a part, which goes on.", "component", "event")
        self._tenants = Few()
        self._steps: dict[tuple[str, str, str], tuple[Any, Any]] = {}

    def event(self, name: str) -> None:
        """Hear of something an operator may want to know."""
        trouble = _TROUBLES.get(name)
        if trouble is not None:
            self._exceptions.labels("workflows_dlq", trouble).inc()

    def run_started(self, workflow: str, tenant: str, attributes: str) -> None:
        """Count a run that begins."""
        if workflow == RUN:
            said = orjson.loads(attributes).get("mode", "child")
            mode = said if said in {"async", "child"} else "sync"
            self._started.labels(self._tenants.of(tenant), mode).inc()

    def run_finished(self, workflow: str, status: str, tenant: str, took: float) -> None:
        """Count a run that has ended after ``took`` milliseconds."""
        if workflow != RUN:
            return
        known = self._tenants.of(tenant)
        counter = {"succeeded": self._completed, "failed": self._failed}.get(status)
        if counter is not None:
            counter.labels(known).inc()
        self._run_ms.labels(known).observe(took)

    def step_started(self, workflow: str, kind: str) -> None:
        """Count a step that begins."""
        if workflow == RUN and kind != _INNER:
            self._steps_started.labels(kind).inc()

    def step_ended(self, workflow: str, tenant: str, kind: str, status: str, took: float) -> None:
        """Count a step that has ended."""
        if workflow != RUN or kind == _INNER:
            return
        key = (tenant, kind, status)
        children = self._steps.get(key)
        if children is None:
            ended = self._steps_failed if status == "failed" else self._steps_succeeded
            known = self._tenants.of(tenant)
            children = (ended.labels(kind), self._step_ms.labels(kind, known))
            if known != OTHER:
                self._steps[key] = children
        children[0].inc()
        children[1].observe(took)
