"""``JSON:`` inserts: a text of a webhook's body that stands for a native value of the run.

``JSON:fetch.items`` is the value at that path, ``JSON:fetch.items|pluck:title`` the list of that field of its items.
Secrets have no path: a text that came from outside could name one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from windlass.contexts.workflows.steptypes.base import StepFailure

MARK = "JSON:"
PLUCK = "pluck:"
HIDDEN = frozenset({"secrets"})


def inserted(value: Any, names: Mapping[str, Any]) -> Any:
    """Return a value with its inserts in place.

    Raises:
        StepFailure: ``unknown_variable``: a path leads nowhere; ``validation_error``: an insert cannot be read.
    """
    if isinstance(value, str):
        return _insert(value, names) if value.startswith(MARK) else value
    if isinstance(value, Mapping):
        return {key: inserted(item, names) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [inserted(item, names) for item in value]
    return value


def _insert(text: str, names: Mapping[str, Any]) -> Any:
    path, _, filter_ = text.removeprefix(MARK).partition("|")
    found = _look(path.strip(), names)
    filter_ = filter_.strip()
    if not filter_:
        return found
    if not filter_.startswith(PLUCK):
        raise StepFailure("validation_error", f"{text!r}: the only filter is |pluck:<field>", retryable=False)
    if not isinstance(found, list):
        raise StepFailure("validation_error", f"{text!r}: {path!r} is no list", retryable=False)
    wanted = filter_.removeprefix(PLUCK).strip()
    return [item.get(wanted) if isinstance(item, Mapping) else None for item in found]


def _look(path: str, names: Mapping[str, Any]) -> Any:
    parts = path.split(".")
    if parts[0] in HIDDEN:
        raise StepFailure("validation_error", f"{MARK}{path}: secrets cannot be inserted", retryable=False)
    value: Any = names
    for part in parts:
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isascii() and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise StepFailure("unknown_variable", f"{MARK}{path}: there is no {part!r}", retryable=False)
    return value
