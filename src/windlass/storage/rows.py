"""Rows to values and back, the same for every SQL backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from windlass.engine.types import ClaimedRun, RunHead

HEAD = (
    "run_id", "name", "status", "status_reason", "wait_reason", "holder", "last_seq", "queue", "priority",
    "claim_rank", "ready_at", "wake_at", "deaths", "parent_run_id", "on_end", "started_at", "lane",
)  # fmt: skip
"""Columns of a ``RunHead``, in its own order; ``started_at`` is a time stamp, read as ISO 8601 text."""

CLAIMED = ("inputs_json", "tenant_id", "user_id", "key", "attributes", "interface_version")
"""What a claim reads beyond the head, in the order of ``ClaimedRun``."""

EVENTS = ("run_id", "event_seq", "event_type", "step_id", "payload_json", "created_at")
INBOX = ("inbox_id", "run_id", "kind", "name", "dedup_id", "payload_json", "created_at")
RUNS = (
    "run_id", "tenant_id", "name", "interface_version", "status", "user_id", "queue", "key", "priority",
    "ready_at", "wake_at", "holder", "last_seq", "parent_run_id", "workflow_id", "on_end", "attributes", "inputs_json",
    "created_at", "started_at", "lane", "ageing",
)  # fmt: skip


def claimed_run(row: Sequence[Any]) -> ClaimedRun:
    """Return a run from the columns of ``HEAD`` followed by those of ``CLAIMED``."""
    split = len(HEAD)
    return ClaimedRun(RunHead(*row[:split]), *row[split:])
