"""JSON bodies: read strictly, every complaint at once; those below ``/api/v1`` are described from the same words."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from windlass.contexts.records.api import read_json
from windlass.kernel.errors import Issue, ValidationFailed

Check = Callable[[Any], str | None]
"""Returns what is wrong with a value, or None."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a body: its JSON Schema, whether it must be there, and what else it must be."""

    schema: Mapping[str, Any]
    required: bool = False
    check: Check | None = None


def text(most: int, *, least: int = 1, **more: Any) -> dict[str, Any]:
    """Return the schema of a bounded text without NUL characters."""
    return {"type": "string", "minLength": least, "maxLength": most, "pattern": "^[^\\u0000]*$", **more}


REASON = {"reason": Field(text(300))}
"""What somebody may say who controls a run."""


def schema_of(fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return the JSON Schema of a body."""
    required = [name for name, field in fields.items() if field.required]
    properties = {
        name: dict(field.schema) if field.required else {"anyOf": [dict(field.schema), {"type": "null"}]}
        for name, field in fields.items()
    }
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": required}


def media(fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return the media types of a body, for the OpenAPI document."""
    return {"application/json": {"schema": schema_of(fields)}}


def read_object(raw: bytes, *, optional: bool = False, wanted: str = "an object") -> dict[str, Any]:
    """Return the fields of a body.

    Args:
        raw: the body.
        optional: whether it may be missing.
        wanted: what it should be, in words.

    Raises:
        ValidationFailed: it is no JSON object.
    """
    return {} if optional and not raw.strip() else an_object(read_json(raw), wanted)


def an_object(value: Any, wanted: str = "an object") -> dict[str, Any]:
    """Return what has been read, which should be an object.

    Raises:
        ValidationFailed: it is none.
    """
    if not isinstance(value, dict):
        raise ValidationFailed([Issue(("body",), f"Input should be {wanted}", "object_type")])
    return value


def unknown(names: Iterable[str], known: Container[str], loc: tuple[str | int, ...] = ("body",)) -> list[Issue]:
    """Return a complaint about each name of a field that is not known."""
    extra = [name for name in names if name not in known]
    return [Issue((*loc, name), "Extra inputs are not permitted", "extra_forbidden") for name in extra]


def read_known(
    raw: bytes,
    known: Container[str],
    complaints: Callable[[str, Any], Iterable[Issue]],
    *,
    optional: bool = False,
) -> dict[str, Any]:
    """Return the fields of a body as they were sent.

    Args:
        raw: the body.
        known: the fields it may hold.
        complaints: returns what is wrong with the value of one of them.
        optional: whether it may be missing.

    Raises:
        ValidationFailed: it is no JSON object, or fields are unknown or wrong; names each.
    """
    value = read_object(raw, optional=optional)
    issues: list[Issue] = []
    for name, given in value.items():
        issues += complaints(name, given) if name in known else unknown((name,), known)
    if issues:
        raise ValidationFailed(issues)
    return value


def read_body(raw: bytes, fields: Mapping[str, Field], *, optional: bool = False) -> dict[str, Any]:
    """Return the fields of a body that are there and not null.

    Args:
        raw: the body.
        fields: what it may hold.
        optional: whether it may be missing.

    Raises:
        ValidationFailed: it is no JSON object, or fields are missing, unknown or wrong; names each.
    """
    return read_fields(read_object(raw, optional=optional), fields)


def read_fields(
    value: Mapping[str, Any], fields: Mapping[str, Field], loc: tuple[str | int, ...] = ("body",)
) -> dict[str, Any]:
    """Return the fields of an object that are there and not null.

    Args:
        value: the object.
        fields: what it may hold.
        loc: where it stands, for the errors.

    Raises:
        ValidationFailed: fields are missing, unknown or wrong; names each.
    """
    issues = unknown(value, fields, loc)
    found: dict[str, Any] = {}
    for name, field in fields.items():
        given = value.get(name)
        if given is None:
            if field.required:
                issues.append(Issue((*loc, name), "Field required", "missing"))
            continue
        wrong = complaint(field.schema, given) or (field.check(given) if field.check is not None else None)
        if wrong is not None:
            issues.append(Issue((*loc, name), wrong, "value_error"))
        found[name] = given
    if issues:
        raise ValidationFailed(issues)
    return found


_TYPES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "string": (lambda value: isinstance(value, str), "a string"),
    "object": (lambda value: isinstance(value, dict), "an object"),
    "array": (lambda value: isinstance(value, list), "a list"),
    "boolean": (lambda value: isinstance(value, bool), "true or false"),
    "integer": (lambda value: type(value) is int, "an integer"),
    "number": (lambda value: type(value) in {int, float}, "a number"),
}


def complaint(schema: Mapping[str, Any], value: Any) -> str | None:
    """Return what is wrong with a value by the few keywords that the fields of bodies use."""
    kind = schema.get("type")
    if kind is not None:
        right, words = _TYPES[kind]
        if not right(value):
            return f"Input should be {words}"
    if "enum" in schema and value not in schema["enum"]:
        return f"Input should be {' or '.join(repr(one) for one in schema['enum'])}"
    if isinstance(value, str):
        return _text_complaint(schema, value)
    if type(value) in {int, float}:
        low, high = schema.get("minimum"), schema.get("maximum")
        if (low is not None and value < low) or (high is not None and value > high):
            return f"Input should be from {low} to {high}"
    items, most = schema.get("items"), schema.get("maxItems")
    if isinstance(value, list):
        if most is not None and len(value) > most:
            return f"Input should have at most {most} items"
        wrong = next((found for one in value if items and (found := complaint(items, one))), None)
        return None if wrong is None else f"each item: {wrong}"
    inner = schema.get("additionalProperties")
    if isinstance(value, dict) and isinstance(inner, dict):
        for name, one in value.items():
            wrong = complaint(inner, one)
            if wrong is not None:
                return f"{name}: {wrong}"
    return None


def _text_complaint(schema: Mapping[str, Any], value: str) -> str | None:
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    if len(value) < least or (most is not None and len(value) > most):
        return f"Input should be a string of {least} to {most} characters"
    if "\0" in value or not _encodable(value):
        return "Input should hold neither NUL characters nor half surrogate pairs"
    return None


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
