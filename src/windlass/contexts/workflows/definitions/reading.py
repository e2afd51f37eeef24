"""Texts to documents: JSON and YAML, read so that nothing is lost without a word."""

from __future__ import annotations

import json
import re
from typing import Any

from windlass.contexts.records.api import read_json
from windlass.contexts.workflows.definitions.yamltext import Positions, TextFault, Unreadable, read_yaml
from windlass.contexts.workflows.schemas import Path
from windlass.kernel.errors import Issue, ValidationFailed

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},]|[^\s\[\]{},:"]+', re.DOTALL)
_BOM = "\ufeff"


def read_document(raw: bytes, *, yaml: bool) -> Any:
    """Return the value of a document.

    Args:
        raw: its text, in UTF-8.
        yaml: whether it is YAML; else it is JSON.

    Raises:
        ValidationFailed: it cannot be read, says a field twice, or is too deep; names the place.
    """
    if yaml:
        try:
            return read_yaml(_decoded(raw))[0]
        except Unreadable as unreadable:
            fault = unreadable.fault
            message = f"{fault.message} (line {fault.line}, column {fault.column})"
            raise ValidationFailed([Issue(("body", *fault.path), message, "yaml_invalid")]) from None
    value = read_json(raw)
    twice = duplicate_field(raw)
    if twice is not None:
        raise ValidationFailed([Issue(("body",), f"Duplicate field {twice!r}", "duplicate_field")])
    return value


def duplicate_field(raw: bytes) -> str | None:
    """Return a name that one object of a readable JSON text says twice, or None."""
    found: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in items]
        if len(names) != len(set(names)):
            found.extend(name for name in names if names.count(name) > 1)

    json.loads(raw.decode("utf-8-sig"), object_pairs_hook=pairs)
    return found[0] if found else None


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise Unreadable(TextFault("Not valid UTF-8", line, 1)) from None


def read_with_positions(raw: bytes, *, yaml: bool) -> tuple[Any, Positions]:
    """Return the value of a document and where each part of it stands.

    Raises:
        Unreadable: it cannot be read.
    """
    text = _decoded(raw)
    if yaml:
        return read_yaml(text)
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise Unreadable(TextFault(f"Invalid JSON: {error.msg}", error.lineno, error.colno)) from None
    except RecursionError:
        raise Unreadable(TextFault("Nesting is too deep", 1, 1)) from None
    try:
        value = read_document(raw, yaml=False)
    except ValidationFailed as failed:
        issue = failed.issues[0]
        path = issue.loc[1:]
        raise Unreadable(TextFault(issue.msg, *_nearest(json_positions(text), path), path)) from None
    return value, json_positions(text)


def _nearest(positions: Positions, path: Path) -> tuple[int, int]:
    while path not in positions and path:
        path = path[:-1]
    return positions.get(path, (1, 1))


def json_positions(text: str) -> Positions:
    """Return where each part of a readable JSON text stands; a field stands where its name does."""
    positions: Positions = {}
    lines = [0, *(match.end() for match in re.finditer("\n", text))]
    path: list[str | int | None] = []
    line = 0

    def mark(offset: int) -> None:
        nonlocal line
        while line + 1 < len(lines) and lines[line + 1] <= offset:
            line += 1
        place = tuple(part for part in path if part is not None)
        positions.setdefault(place, (line + 1, offset - lines[line] + 1))

    for token in _TOKEN.finditer(text.replace(_BOM, " ", 1)):
        first = token[0][0]
        if first == ",":
            last = path[-1]
            path[-1] = last + 1 if isinstance(last, int) else None
        elif first in "]}":
            path.pop()
        elif first == '"' and path and path[-1] is None:
            path[-1] = str(json.loads(token[0], strict=False))
            mark(token.start())
        else:
            mark(token.start())
            if first in "[{":
                path.append(0 if first == "[" else None)
    return positions


def position_of(positions: Positions, path: Path) -> tuple[int, int]:
    """Return line and column of a part, or of the nearest one around it."""
    return _nearest(positions, path)
