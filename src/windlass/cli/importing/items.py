"""What readers yield: records ready to be sent, and lines that are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

JSON_SPACE = b" \t\r\n"
FIELDS = ("source", "category", "payload")
EXPORTED = frozenset(
    {
        *FIELDS, "id", "created_at", "status", "classification", "score", "result", "error", "updated_at",
        "processed_at", "attempts", "run_id",
    }
)  # fmt: skip
"""What an exported record has: those beside ``FIELDS`` are the server's own, and nobody gives them."""


class Item(NamedTuple):
    """A record: the number of the line it begins on, and its JSON on one line, as it came."""

    line: int
    body: bytes


class Refused(NamedTuple):
    """A line that is no record: which, where in it, why, and what stands there."""

    line: int
    field: str | None
    message: str
    text: str = ""

    def __str__(self) -> str:
        return f"line {self.line}: {self.field + ': ' if self.field else ''}{self.message}"


def item(line: int, raw: bytes, defaults: Mapping[str, str]) -> Item | Refused:
    """Return a JSON text as a record, with the defaults for fields it does not have.

    The text is passed on as it is, not written anew: a number keeps all its digits. Only of a record that an export
    has written the fields are taken which a new one may have.
    """
    value = read_object(raw)
    if isinstance(value, str):
        return Refused(line, None, value, shown(raw))
    if value.keys() == EXPORTED:
        return Item(line, orjson.dumps({name: value[name] for name in FIELDS}))
    return Item(line, with_defaults(raw.strip(JSON_SPACE), value, defaults))


def read_object(raw: bytes) -> dict[str, Any] | str:
    """Return a JSON object, or what is wrong with its text."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if "utf-8" in error.msg.lower():
            return "not valid UTF-8"
        return f"invalid JSON: {error.msg} (column {error.colno})"
    return value if isinstance(value, dict) else "not a JSON object"


def with_defaults(raw: bytes, value: Mapping[str, Any], defaults: Mapping[str, str]) -> bytes:
    """Return the text of an object with the defaults it lacks put in front, on one line."""
    raw = on_one_line(raw)
    missing = {name: text for name, text in defaults.items() if name not in value}
    if not missing:
        return raw
    head = orjson.dumps(missing)
    return head[:-1] + b"," + raw[1:] if value else head


def on_one_line(raw: bytes) -> bytes:
    """Return valid JSON without line ends, which stand only between its parts."""
    return raw.replace(b"\n", b" ").replace(b"\r", b" ") if b"\n" in raw or b"\r" in raw else raw


def shown(raw: bytes, limit: int = 2000) -> str:
    """Return bytes as text for a list of refused lines."""
    return raw[:limit].decode(errors="replace")
