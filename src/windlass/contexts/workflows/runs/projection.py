"""Steps and attempts of a run, read from its journal, where the engine has written all that these are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from windlass.contexts.workflows.runs.failures import NEVER_AGAIN, code_of, reason
from windlass.engine.errors import StepFailed
from windlass.engine.types import Event, RunView
from windlass.kernel.clock import to_iso

SUMMARY_LENGTH = 240
_NAMELESS = frozenset({"resolve", "start", "sleep", "backoff", "deadline", "compensation"})
"""Calls that the interpreter makes for its own ends within a step."""


@dataclass(slots=True)
class Attempt:
    """One attempt; times are microseconds."""

    number: int
    started_at: int | None
    ended_at: int | None = None
    status: str = "running"
    error: str | None = None


@dataclass(slots=True)
class StepRun:
    """One execution of a step."""

    path: str
    step_id: str
    type: str
    status: str = "running"
    started_at: int | None = None
    ended_at: int | None = None
    outputs: Any = None
    error: str | None = None
    attempts: list[Attempt] = field(default_factory=list)


def step_runs(events: Iterable[Event], run_status: str) -> list[StepRun]:
    """Return every execution of every step in the order of their starts."""
    found: dict[str, StepRun] = {}
    for event in events:
        if event.step_id is None or event.type in {"child_started", "child_completed"}:
            continue
        name = event.step_id.rsplit("/", 1)[-1].partition("#")[0]
        if name in _NAMELESS or name.startswith(("signal:", "people.")):
            continue
        data = orjson.loads(event.payload)
        if event.type == "value_recorded":
            value = data.get("value")
            if isinstance(value, dict) and value.get("status") == "skipped":
                found[event.step_id] = StepRun(event.step_id, name, value["type"], "skipped", event.at, event.at)
            continue
        run = found.get(event.step_id)
        if run is None:
            run = found[event.step_id] = StepRun(event.step_id, name, str(data.get("type", "")), started_at=event.at)
        _read(run, event, data)
    if run_status == "cancelled":
        for run in found.values():
            if run.status == "running":
                run.status = "cancelled"
    return list(found.values())


def _read(run: StepRun, event: Event, data: Mapping[str, Any]) -> None:
    if event.type == "step_started":
        if run.status == "failed":
            run.status, run.ended_at, run.error = "running", None, None
        run.attempts.append(Attempt(len(run.attempts) + 1, event.at))
    elif event.type == "step_completed":
        run.status, run.ended_at, run.outputs, run.error = "succeeded", event.at, data.get("output"), None
        _last(run, event).status = "succeeded"
    elif event.type == "step_failed":
        text = told(event.step_id or "", data)
        attempt = _last(run, event)
        attempt.status, attempt.error = "failed", text
        if data.get("retry_at") is None:
            run.status, run.ended_at, run.error = "failed", event.at, text


def _last(run: StepRun, event: Event) -> Attempt:
    if not run.attempts or run.attempts[-1].ended_at is not None:
        run.attempts.append(Attempt(len(run.attempts) + 1, None))
    run.attempts[-1].ended_at = event.at
    return run.attempts[-1]


def told(path: str, data: Mapping[str, Any]) -> str:
    """Return why an attempt failed, as ``code: what happened``."""
    return reason(StepFailed(f"step {path} failed: {data['error_type']}: {data['error']}"))


def shown_steps(run: RunView, events: Sequence[Event]) -> list[dict[str, Any]]:
    """Return the executions as the API shows them."""
    return [
        {
            "step_run_id": f"{run.run_id}:{one.path}",
            "step_id": one.step_id,
            "name": one.step_id,
            "type": one.type,
            "status": _waiting(one),
            "attempt_count": len(one.attempts),
            "started_at": _iso(one.started_at),
            "ended_at": _iso(one.ended_at),
            "error": one.error,
            **({} if one.error is None else {"latest_failure": failure_of(one.error)}),
        }
        for one in step_runs(events, run.status)
    ]


def _waiting(one: StepRun) -> str:
    waits = {"wait_for_human": "waiting_human", "wait_for_approval": "waiting_approval"}
    return waits.get(one.type, one.status) if one.status == "running" else one.status


def shown_attempts(run: RunView, events: Sequence[Event], step_id: str | None = None) -> list[dict[str, Any]]:
    """Return attempts as the API shows them, of one step or of all."""
    rows = []
    for one in step_runs(events, run.status):
        if step_id is not None and one.step_id != step_id:
            continue
        for attempt in one.attempts:
            failure = None if attempt.error is None else failure_of(attempt.error)
            timed = attempt.started_at is not None and attempt.ended_at is not None
            rows.append(
                {
                    "attempt_id": f"{run.run_id}:{one.path}:{attempt.number}",
                    "step_run_id": f"{run.run_id}:{one.path}",
                    "step_id": one.step_id,
                    "attempt_number": attempt.number,
                    "status": attempt.status,
                    "started_at": _iso(attempt.started_at),
                    "ended_at": _iso(attempt.ended_at),
                    "duration_ms": (attempt.ended_at - attempt.started_at) // 1000 if timed else None,  # type: ignore[operator]
                    "reason_code_core": failure and failure["reason_code_core"],
                    "reason_code_detail": failure and failure["reason_code_detail"],
                    "retryable": failure and failure["retryable"],
                    "error_summary": failure and failure["error_summary"],
                    "metadata": {},
                }
            )
    rows.sort(key=lambda row: (row["attempt_number"], row["started_at"] or ""))
    return rows


_POLICY = frozenset({"acp_governance_blocked", "authz_error", "session_access_denied", "egress_denied"})
_DEFINITION = frozenset({
    "validation_error", "invariant_violation", "assigned_to_required", "branch_loop_exceeded", "template_error",
    "unknown_target", "cyclic_call", "loop_limit_reached",
})  # fmt: skip
_BLAME = {"policy": "policy", "definition": "workflow", "cancellation": "step", "runtime": "step"}


def failure_of(text: str) -> dict[str, Any]:
    """Return a failure in the contract's vocabulary (section 1.3)."""
    code = code_of(text)
    category = (
        "policy" if code in _POLICY
        else "definition" if code in _DEFINITION
        else "timeout" if "timeout" in code
        else "cancellation" if code == "cancelled_by_user"
        else "runtime"
    )  # fmt: skip
    external = code.startswith(("http_", "webhook_", "network_", "connection_", "response_"))
    retryable = code not in NEVER_AGAIN and category in {"timeout", "runtime"}
    return {
        "reason_code_core": code,
        "reason_code_detail": text.partition(":")[2].strip()[:SUMMARY_LENGTH] or None,
        "category": category,
        "blame_scope": "external_dependency" if external or category == "timeout" else _BLAME[category],
        "retryable": retryable,
        "retry_recommendation": "unsafe" if category == "policy" else "conditional" if not retryable else "safe",
        "error_summary": text[:SUMMARY_LENGTH],
    }


def investigation(run: RunView, events: Sequence[Event], counts: Mapping[str, Any], *, inside: bool) -> dict[str, Any]:
    """Return what is known of how a run failed; ``inside`` shows what only administrators see."""
    error = None if run.error is None else str(run.error.get("message", ""))
    steps = step_runs(events, run.status)
    failed = next((one for one in reversed(steps) if one.status == "failed"), None)
    primary: dict[str, Any] | None = None
    if run.status == "failed" and error is not None:
        primary = failure_of(error)
        primary["internal_detail"] = None
        if inside:
            primary["internal_detail"] = {
                "run_error": error,
                "event_count": len(events),
                "artifact_count": counts.get("artifact_count", 0),
                "latest_event_types": [event.type for event in events[-5:]],
            }
    return {
        "run_id": run.run_id,
        "status": run.status,
        "schema_version": 1,
        "derived_from_event_seq": events[-1].seq if events else 0,
        "failed_step": None if failed is None or primary is None else {"step_id": failed.step_id, "type": failed.type},
        "primary_failure": primary,
        "attempts": shown_attempts(run, events, None if failed is None else failed.step_id),
        "evidence": {
            "event_count": len(events),
            "artifact_count": counts.get("artifact_count", 0),
            "webhook_delivery_count": sum(event.type == "webhook_delivery" for event in events),
            "artifact_types": list(counts.get("artifact_types", ())),
        },
        "recommended_actions": _advice(run, primary),
    }


def _advice(run: RunView, primary: Mapping[str, Any] | None) -> list[str]:
    if run.status == "paused":
        return [f"The run is paused ({run.status_reason}); resume it once the cause is gone"]
    if primary is None:
        return []
    if primary["category"] == "definition":
        return ["Correct the definition or the inputs, then start a new run; the same run would fail again"]
    if primary["category"] == "policy":
        return ["Have the policy changed, or the step; then retry the run"]
    if primary["retryable"]:
        return ["Retry the run: it goes on at the failed step, and what had succeeded is kept"]
    return ["Look at the failed step's attempts before retrying the run"]


def _iso(at: int | None) -> str | None:
    return None if at is None else to_iso(at)
