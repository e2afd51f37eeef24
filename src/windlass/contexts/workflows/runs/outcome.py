"""What has become of a step: shared words of the interpreter and its controls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

RESERVED = frozenset({
    "inputs", "last", "prev", "steps", "item", "index", "iteration", "secrets", "tenant_id", "user_id", "run_id",
    "workflow_metadata", "workflow_mcp_policy",
})  # fmt: skip
"""Names that templates know beside those of steps."""


class Outcome(NamedTuple):
    """How a step ended: with outputs, skipped, or failed for a reason (``timed_out`` where nobody decided in time)."""

    outputs: Mapping[str, Any]
    failure: str | None = None
    skipped: bool = False
    timed_out: bool = False
    error: Exception | None = None

    @property
    def succeeded(self) -> bool:
        """Whether it did what it was to do."""
        return self.failure is None and not self.skipped
