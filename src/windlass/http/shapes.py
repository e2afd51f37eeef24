"""Answers of workflows as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Any


def answer(description: str, properties: dict[str, Any]) -> dict[str, Any]:
    """Return an answer that is a JSON object with these properties."""
    schema = {"type": "object", "properties": properties}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_TEXT = {"type": "string"}
_MAYBE = {"anyOf": [{"type": "string"}, {"type": "null"}]}
_NUMBER = {"anyOf": [{"type": "integer"}, {"type": "null"}]}
_RUN = {
    "run_id": _TEXT, "workflow_id": _NUMBER, "user_id": _MAYBE, "status": _TEXT, "status_reason": _MAYBE,
    "definition_version": _NUMBER,
}  # fmt: skip
WORKFLOW_RUN = answer(
    "A run",
    {"id": _MAYBE, **_RUN, "inputs": {"type": "object"}, "outputs": {}, "error": _MAYBE, "validation_mode": _TEXT},
)
WORKFLOW_RUNS = answer(
    "Runs",
    {
        "runs": {"type": "array", "items": {"type": "object", "properties": {**_RUN, "workflow_name": _MAYBE}}},
        "next_offset": _NUMBER,
        "next_cursor": _MAYBE,
    },
)
