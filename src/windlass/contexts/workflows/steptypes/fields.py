"""Words for the JSON Schemas of configs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_TEXT = 1024 * 1024
"""Characters of the longest text a step takes."""
MOST_ITEMS = 100_000
"""Items of the longest list a step takes."""

Schema = dict[str, Any]


def config(properties: Mapping[str, Schema], required: Sequence[str] = (), **more: Any) -> Schema:
    """Return the schema of a config: these fields and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": dict(properties),
        **({"required": list(required)} if required else {}),
        **more,
    }


def either(*names: str) -> Schema:
    """Return the rule that exactly one of several fields is given."""
    return {"oneOf": [{"required": [name]} for name in names]}


def text(description: str, *, least: int = 0, most: int = MOST_TEXT, **more: Any) -> Schema:
    """Return the schema of a text; lengths in characters."""
    return {
        "type": "string",
        "description": description,
        **({"minLength": least} if least else {}),
        "maxLength": most,
        **more,
    }


def choice(description: str, values: Sequence[str], **more: Any) -> Schema:
    """Return the schema of one of several words."""
    return {"type": "string", "enum": list(values), "description": description, **more}


def whole(description: str, least: int, most: int, **more: Any) -> Schema:
    """Return the schema of a whole number."""
    return {"type": "integer", "minimum": least, "maximum": most, "description": description, **more}


def number(description: str, least: float, most: float, **more: Any) -> Schema:
    """Return the schema of a number."""
    return {"type": "number", "minimum": least, "maximum": most, "description": description, **more}


def flag(description: str, default: bool) -> Schema:
    """Return the schema of true or false."""
    return {"type": "boolean", "default": default, "description": description}


def listing(description: str, items: Schema | None = None, *, most: int = MOST_ITEMS, **more: Any) -> Schema:
    """Return the schema of a list."""
    return {
        "type": "array",
        "maxItems": most,
        "description": description,
        **({"items": items} if items else {}),
        **more,
    }


def mapping(description: str, **more: Any) -> Schema:
    """Return the schema of an object of any fields."""
    return {"type": "object", "description": description, **more}


def anything(description: str) -> Schema:
    """Return the schema of any value."""
    return {"description": description}


SUB_STEP = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type"],
    "properties": {
        "id": text("How it is called in results and events", least=1, most=100),
        "name": text("For people", most=200),
        "type": text("Its step type", least=1, most=100),
        "config": mapping("Its config; its templates are resolved when it runs"),
        "retry": whole("Attempts after the first", 0, 100),
        "timeout_seconds": number("Seconds one attempt may take", 0.001, 31_622_400),
    },
    "description": "A step inside this one",
}
