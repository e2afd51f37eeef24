"""JSON: queries and schemas."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import orjson
from jsonschema_rs import Draft202012Validator

from windlass.contexts.workflows.budget import Budget, Exhausted
from windlass.contexts.workflows.steptypes import fields, jmes
from windlass.contexts.workflows.steptypes.base import StepContext, StepType
from windlass.contexts.workflows.steptypes.checking import validator
from windlass.contexts.workflows.steptypes.threads import SMALL, apart, invalid

MOST_ERRORS = 100
MOST_DATA = 4_000_000
"""Units of the largest data, see ``Budget.weigh``."""
MOST_UNIQUE = 20_000
"""Units of the largest data of which a schema may ask that no two items are the same."""
LARGE = SMALL + 1
DATA = fields.anything("The data; a text is read as JSON")


def _data(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except ValueError as error:
        raise invalid(f"config.data: not JSON: {error}") from None


def _is_little(value: Any, units: int) -> bool:
    """Say whether data is no larger, without looking at more of it."""
    try:
        Budget(units).weigh(value)
    except Exhausted:
        return False
    return True


def _size(value: Any) -> int:
    """Return how large data is; refuse what is too large."""
    budget = Budget(MOST_DATA)
    try:
        budget.weigh(value)
    except Exhausted:
        raise invalid("config.data: too large") from None
    return MOST_DATA - budget.left


async def json_transform(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:  # noqa: ARG001
    """Query JSON with JMESPath."""
    expression = config.get("expression", config.get("query", ""))
    data = _data(config.get("data"))
    # A short expression over little data is quick; what multiplies (a function, a list of lists) goes apart.
    simple = len(expression) <= 100 and _is_little(data, 2_000)
    result = await apart(0 if simple else LARGE, _searched, expression, data)
    return {"result": result, "expression": expression}


def _searched(expression: str, data: Any) -> Any:
    _size(data)
    return jmes.search(expression, data)


def _schema(schema: Mapping[str, Any]) -> Draft202012Validator:
    try:
        return validator(schema)
    except ValueError as error:
        raise invalid(f"config.schema: {str(error).splitlines()[0][:300]}") from None


def _validated(schema: Mapping[str, Any], data: Any) -> dict[str, Any]:
    if _size(data) > MOST_UNIQUE and _asks(schema, "uniqueItems"):
        raise invalid("config.schema: uniqueItems compares everything with everything, which is too much for this data")
    ready = _schema(schema)
    try:
        found = list(islice(ready.iter_errors(data), MOST_ERRORS))
    except ValueError as error:  # what JSON cannot say
        raise invalid(f"config.data: {str(error).splitlines()[0][:300]}") from None
    paths = [".".join(map(str, error.instance_path)) for error in found]
    errors = [f"{path}: {error.message}" if path else error.message for path, error in zip(paths, found, strict=True)]
    return {"valid": not found, "errors": errors, "path": paths[0] if paths else None}


async def json_validate(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:  # noqa: ARG001
    """Check JSON against a schema."""
    data = _data(config.get("data"))
    return await apart(0 if _is_little(data, 1_000) else LARGE, _validated, config["schema"], data)


def _asks(schema: Any, keyword: str) -> bool:
    """Say whether a schema has a keyword anywhere."""
    if isinstance(schema, Mapping):
        return keyword in schema or any(_asks(one, keyword) for one in schema.values())
    return isinstance(schema, list) and any(_asks(one, keyword) for one in schema)


DATA_TYPES = (
    StepType(
        name="json_transform",
        description="Query JSON with a JMESPath expression",
        schema=fields.config(
            {
                "data": DATA,
                "expression": fields.text("The expression", least=1, most=4_096),
                "query": fields.text("The same, by its other name", least=1, most=4_096),
            },
            required=["data"],
            **fields.either("expression", "query"),
        ),
        example={"data": "{{ last.records }}", "expression": "[?age > `30`].name"},
        work=json_transform,
        mapable=True,
        outputs={"result": "what was found; null for nothing", "expression": "the expression"},
        compiled={"expression": jmes.parsed, "query": jmes.parsed},
    ),
    StepType(
        name="json_validate",
        description="Check JSON against a JSON Schema",
        schema=fields.config(
            {
                "data": DATA,
                "schema": fields.mapping("The schema, draft 2020-12, without references to other documents"),
            },
            required=["data", "schema"],
        ),
        example={"data": "{{ last }}", "schema": {"type": "object", "required": ["name"]}},
        work=json_validate,
        mapable=True,
        outputs={
            "valid": "whether it fits; that it does not is no failure",
            "errors": f"what does not, at most {MOST_ERRORS}",
            "path": "where the first of them is; null for none",
        },
        compiled={"schema": _schema},
    ),
)
