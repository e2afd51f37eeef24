"""What differs between two definitions: steps added, removed and changed, field by field, and as text."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from windlass.contexts.workflows.schemas import Path

MOST_CHANGES = 500
_ABSENT = object()


def difference(
    old: Mapping[str, Any], new: Mapping[str, Any], names: tuple[str, str] = ("old", "new")
) -> dict[str, Any]:
    """Return how two definitions differ.

    Args:
        old: one document.
        new: the other.
        names: how the text calls them.

    Returns:
        ``same``; ``fields``, the changes beside the steps; ``steps`` with ``added`` and ``removed`` (ids), ``changed``
        (id and its changes) and ``moved`` (whether steps that both have stand in another order); ``text``, a unified
        diff of the documents as indented JSON. A change is ``{path, old, new}``, without the side that has nothing.
    """
    before, after = _steps(old), _steps(new)
    kept = [name for name in before if name in after]
    changed = []
    for name in kept:
        changes = list(_changes(before[name], after[name], ()))
        if changes:
            changed.append({"id": name, "changes": changes[:MOST_CHANGES]})
    fields = list(_changes(_without_steps(old), _without_steps(new), ()))
    return {
        "same": old == new and list(before) == list(after),
        "fields": fields[:MOST_CHANGES],
        "steps": {
            "added": [name for name in after if name not in before],
            "removed": [name for name in before if name not in after],
            "changed": changed,
            "moved": kept != [name for name in after if name in before],
        },
        "text": text_diff(old, new, names),
    }


def text_diff(old: Mapping[str, Any], new: Mapping[str, Any], names: tuple[str, str]) -> str:
    """Return a unified diff of two documents as indented JSON."""
    return "\n".join(difflib.unified_diff(_lines(old), _lines(new), *names, lineterm=""))


def _lines(document: Mapping[str, Any]) -> list[str]:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode().splitlines()


def _steps(document: Mapping[str, Any]) -> dict[str, Any]:
    return {step["id"]: step for step in document["steps"]}


def _without_steps(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "steps"}


def _changes(old: Any, new: Any, path: Path) -> Iterator[dict[str, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from _changes(old.get(name, _ABSENT), new.get(name, _ABSENT), (*path, name))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _changes(one, other, (*path, place))
    elif old is _ABSENT or new is _ABSENT or old != new or type(old) is not type(new):
        told: dict[str, Any] = {"path": ".".join(map(str, path))}
        sides = {"old": old, "new": new}
        yield told | {name: value for name, value in sides.items() if value is not _ABSENT}
