"""What may come in: a record's JSON is read once and checked strictly, with the culprit named.

Refused beside wrong types and sizes is what the two databases would not give back as it came: NUL characters, half
surrogate pairs, integers beyond 64 bits, NaN and infinities, and nesting nobody means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from windlass.contexts.records.model import NAME_LENGTH, Draft
from windlass.contexts.records.places import Place, place_at
from windlass.kernel.errors import Issue, TooLarge, ValidationFailed

MAX_DEPTH = 64
FIELDS = ("source", "category", "payload")
_LONG_INTEGER = re.compile(rb"\d{19}")
_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1
DEPTH_LIMIT = "depth limit exceeded"
"""What orjson says to a nesting that it does not follow."""
BOM = b"\xef\xbb\xbf"


def read_json(raw: bytes, place: Place = ("body",)) -> Any:
    """Return the value of a JSON document, with everything refused that cannot be kept.

    A byte order mark is passed over where the document is all of the body.

    Raises:
        ValidationFailed: it is no JSON, or holds what cannot be kept; names the place.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if len(place) == 1 and raw.startswith(BOM) and not raw.startswith(BOM * 2):
            return read_json(raw[len(BOM) :], place)
        raise ValidationFailed([_unreadable(raw, error, place)]) from None
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _is_deep(value):
        raise ValidationFailed([_too_deep(raw.decode(), place)])
    if b"\\u0000" in raw or _LONG_INTEGER.search(raw):
        issues = list(_unkeepable(json.loads(raw), place))
        if issues:
            raise ValidationFailed(issues)
    return value


def read_draft(raw: bytes, max_payload: int, place: Place = ("body",)) -> Draft:
    """Read and check one record.

    Args:
        raw: its JSON.
        max_payload: the largest payload in bytes of compact JSON.
        place: where it is, for the errors.

    Raises:
        ValidationFailed: it breaks a rule; names every field that does.
        TooLarge: its payload is larger than allowed.
    """
    value = read_json(raw, place)
    if type(value) is dict and len(value) == len(FIELDS):
        source, category, payload = value.get("source"), value.get("category"), value.get("payload")
        if (
            type(source) is str
            and type(category) is str
            and type(payload) is dict
            and 0 < len(source) <= NAME_LENGTH
            and 0 < len(category) <= NAME_LENGTH
        ):
            text = orjson.dumps(payload)
            if len(text) > max_payload:
                raise TooLarge(f"payload is larger than {max_payload} bytes", field="payload", limit=max_payload)
            return Draft(source, category, text.decode())
    raise ValidationFailed(list(_complaints(value, place)))


def _complaints(value: Any, place: Place) -> Iterator[Issue]:
    if not isinstance(value, dict):
        yield Issue(place, "Input should be an object", "object_type")
        return
    for name in FIELDS:
        if name not in value:
            yield Issue((*place, name), "Field required", "missing")
        elif name == "payload":
            if not isinstance(value[name], dict):
                yield Issue((*place, name), "Input should be an object", "object_type")
        else:
            yield from name_complaints(value[name], (*place, name))
    for name in value:
        if name not in FIELDS:
            yield Issue((*place, name), "Extra inputs are not permitted", "extra_forbidden")


def name_complaints(value: object, place: Place) -> Iterator[Issue]:
    """Yield what is wrong with a source or category."""
    if not isinstance(value, str):
        yield Issue(place, "Input should be a string", "string_type")
    elif not value:
        yield Issue(place, "String should have at least 1 character", "string_too_short")
    elif len(value) > NAME_LENGTH:
        yield Issue(place, f"String should have at most {NAME_LENGTH} characters", "string_too_long")
    elif "\0" in value:
        yield Issue(place, "String should not contain NUL characters", "string_nul")


def _unreadable(raw: bytes, error: orjson.JSONDecodeError, place: Place) -> Issue:
    """Return what is wrong with a text that is no JSON: where, in words and by its field."""
    try:
        reason, before = error.msg, raw.decode()[: error.pos]
    except UnicodeDecodeError as found:
        reason, before = "not valid UTF-8", raw[: found.start].decode()
    if reason == DEPTH_LIMIT:
        return _too_deep(before, place)
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    where = f"line {line}, column {column}" if len(place) == 1 else f"column {column}"
    if line > 1 and len(place) > 1:
        where = f"line {line} of the record, column {column}"
    return Issue((*place, *place_at(before, MAX_DEPTH)), f"Invalid JSON: {reason} ({where})", "json_invalid")


def _too_deep(text: str, place: Place) -> Issue:
    return Issue((*place, *place_at(text, MAX_DEPTH)), f"Nesting is deeper than {MAX_DEPTH} levels", "too_deep")


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for item in level:
            inner.extend(item.values() if isinstance(item, dict) else item)
        level = [item for item in inner if isinstance(item, dict | list)]
        if not level:
            return False
    return True


def _unkeepable(value: Any, place: Place) -> Iterator[Issue]:
    if isinstance(value, str):
        if "\0" in value:
            yield Issue(place, "String should not contain NUL characters", "string_nul")
    elif isinstance(value, dict):
        for name, item in value.items():
            if "\0" in name:
                safe = name.replace("\0", "\\u0000")
                yield Issue((*place, safe), "Keys should not contain NUL characters", "string_nul")
            else:
                yield from _unkeepable(item, (*place, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unkeepable(item, (*place, index))
    elif isinstance(value, int) and not _LOWEST <= value <= _HIGHEST:
        yield Issue(place, "Integer should fit into 64 bits", "int_too_large")
