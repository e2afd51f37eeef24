"""Which limits a run of a definition shares: its tenant's, those of its saved definition, and those of its key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from windlass.contexts.workflows.steptypes.base import StepFailure
from windlass.contexts.workflows.templates import render
from windlass.kernel.errors import Issue, ValidationFailed
from windlass.kernel.lanes import lane_of

LONGEST_KEY = 200


def lane_for(tenant_id: str, workflow_id: int | None, document: Mapping[str, Any], inputs: Mapping[str, Any]) -> str:
    """Return the lane of a run; without a saved definition it shares the limit of the tenant, and of its key.

    Raises:
        ValidationFailed: the inputs make no key.
    """
    workflow = "" if workflow_id is None else str(workflow_id)
    said = document.get("concurrency")
    if said is None:
        return lane_of(tenant_id, workflow)
    try:
        key = render(said["key"], {"inputs": inputs}, field="concurrency.key").strip()
    except StepFailure as failure:
        raise _refused(failure.message) from None
    if not (1 <= len(key) <= LONGEST_KEY and key.isprintable()):
        raise _refused(f"concurrency.key: it becomes no 1 to {LONGEST_KEY} printable characters")
    return lane_of(tenant_id, workflow, key, said["limit"])


def _refused(message: str) -> ValidationFailed:
    return ValidationFailed([Issue(("body", "inputs"), message, "value_error")])
