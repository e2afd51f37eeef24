"""Which field a place in a JSON text belongs to, for texts that cannot be read; only errors ask."""

from __future__ import annotations

import re

import orjson

Place = tuple[str | int, ...]

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*("?)|[\[\]{},]', re.DOTALL)


def place_at(text: str, deepest: int) -> Place:
    """Return the path to where a text breaks off, or to where it becomes deeper than that many levels."""
    path: list[str | int | None] = []
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark[0] == '"':
            if not token[1]:
                break
            if path and path[-1] is None:
                path[-1] = _key(mark)
        elif mark in "{[":
            if len(path) == deepest:
                break
            path.append(None if mark == "{" else 0)
        elif path and mark == ",":
            last = path[-1]
            path[-1] = last + 1 if isinstance(last, int) else None
        elif path:
            path.pop()
    return tuple(step for step in path if step is not None)


def _key(quoted: str) -> str:
    try:
        return str(orjson.loads(quoted)).replace("\0", "\\u0000")
    except orjson.JSONDecodeError:
        return quoted[1:-1]
