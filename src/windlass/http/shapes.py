"""Answers of workflows as the OpenAPI document describes them, and parameters that may be given several times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from windlass.http.query import Parameter, read_query


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


def many(name: str, description: str) -> Parameter:
    """Return a parameter that may be given several times, or with commas between its values."""
    schema = {"type": "array", "items": {"type": "string"}}
    return Parameter(name, schema, description, lambda text: text, ())


def read_many(request: Request, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Return the value of every parameter, those of ``many`` as tuples; see ``read_query``."""
    several = {parameter.name for parameter in parameters if parameter.schema.get("type") == "array"}
    values: dict[str, list[str]] = {name: [] for name in several}
    rest = []
    for part in request.scope["query_string"].split(b"&"):
        name = part.partition(b"=")[0].decode("latin-1")
        if name not in several:
            rest.append(part)
    for name in several:
        for given in request.query_params.getlist(name):
            values[name] += [one for one in given.split(",") if one]
    plain = Request({**request.scope, "query_string": b"&".join(rest)})
    found = read_query(plain, parameters)
    return {**found, **{name: tuple(given) for name, given in values.items()}}
