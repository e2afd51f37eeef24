"""Patch markers: one piece of code for runs from before and from after a change. A marker is a value in the journal."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Any
from weakref import WeakKeyDictionary

from windlass.engine.heads import to_json
from windlass.engine.history import History
from windlass.engine.registry import check_name
from windlass.engine.scope import Scope, current_scope
from windlass.engine.types import NewEvent

_BRANCH = re.compile(r"[gm]([0-9]+)\.[0-9]+")
Begun = tuple[list[int], list[int]]
"""The groups of branches of a scope, in order, and the number of the first event of each."""
_begun: WeakKeyDictionary[History, dict[str, Begun]] = WeakKeyDictionary()


def patched(patch_id: str) -> bool:
    """Whether this place of this run takes the new way.

    A run that comes here for the first time takes it, which is recorded, so that it always will. One whose journal
    holds anything behind this place, in this branch, but no marker had passed it before the change: it takes the old
    way, for ever. Each pass through a loop is a place of its own.

    Args:
        patch_id: names the change, for ever; a name like a step's.

    Raises:
        BadName: it is no name.
        RuntimeError: called outside a workflow.
    """
    return _mark(patch_id, {"value": True})


def deprecate_patch(patch_id: str) -> None:
    """Take the place of ``if patched(…)`` once no open run takes the old way, and its code is gone.

    Runs with the marker go on, and new ones get one that may be missing later: once runs with markers of ``patched``
    have ended, this call can be deleted.

    Raises:
        BadName: it is no name.
        RuntimeError: called outside a workflow.
    """
    _mark(patch_id, {"value": True, "deprecated": True})


def _mark(patch_id: str, value: dict[str, bool]) -> bool:
    name = f"patch:{check_name(patch_id)}"
    scope = current_scope(name)
    known = scope.peek(name)
    if known is None:
        if scope.at < len(scope.order) or _next_group(scope) is not None:
            return False
        path, _ = scope.enter(name, "value")
        scope.run.pending.append(NewEvent("value_recorded", path, to_json(value), scope.run.worker.clock.now()))
        scope.hear()
        return True
    if (known.data or {}).get("deprecated"):
        scope.counts[name] = scope.counts.get(name, 0) + 1
        return True
    if scope.order[scope.at : scope.at + 1] != [known.path] or (_next_group(scope) or known.begun) < known.begun:
        return False
    scope.enter(name, "value")
    scope.hear(known.seq)
    return True


def _next_group(scope: Scope[Any]) -> int | None:
    """Return the number of the first event of the branches that a scope opens next, when the journal holds any."""
    history = scope.run.history
    if history is None:
        return None
    if history not in _begun:
        _begun[history] = _groups(history)
    groups, numbers = _begun[history].get(scope.prefix, ([], []))
    place = bisect_right(groups, scope.groups)
    return numbers[place] if place < len(groups) else None


def _groups(history: History) -> dict[str, Begun]:
    """Return the groups of every scope; a branch counts that has none but inner branches, too."""
    first: dict[str, dict[int, int]] = {}
    for prefix, order in history.orders.items():
        at = history.calls[order[0]].begun
        parts = prefix.split("/")[:-1]
        for place, found in enumerate(map(_BRANCH.fullmatch, parts)):
            if found is not None:
                groups = first.setdefault("".join(f"{part}/" for part in parts[:place]), {})
                group = int(found[1])
                groups[group] = min(groups.get(group, at), at)
    return {scope: (sorted(groups), [groups[group] for group in sorted(groups)]) for scope, groups in first.items()}
