"""Where steps lead: unknown targets, duplicate ids, circles."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from windlass.contexts.workflows.model import END
from windlass.contexts.workflows.schemas import Fault, Path

NEXT = "__next__"
TARGETS = ("on_success", "on_failure", "on_timeout")
BRANCHES = ("true_next", "false_next")
Placed = Sequence[tuple[int, Mapping[str, Any]]]
"""Steps with their places in the document."""


class _Edge(NamedTuple):
    """What leads from a step to another, and where it is said. ``end`` says whether it may be the end of the run."""

    path: Path
    source: str
    target: str
    explicit: bool


def graph_faults(steps: Placed) -> Iterator[Fault]:
    """Yield what is wrong with where the steps lead."""
    ids: dict[str, int] = {}
    for place, step in steps:
        name = step.get("id")
        if isinstance(name, str):
            if name in ids:
                yield Fault(("steps", place, "id"), "duplicate_step_id", f"Duplicate step id: {name}")
            ids.setdefault(name, place)
    edges = [edge for place, step in steps for edge in _edges(place, step)]
    is_graph = any(step.get("depends_on") for _, step in steps)
    for edge in edges:
        yield from _target_faults(edge, ids, is_graph=is_graph)
    if is_graph:
        yield from _steering_faults(steps)
        yield from _choice_faults(edges)
    yield from _circles([edge for edge in edges if edge.source in ids and edge.target in ids], ids)


def _edges(place: int, step: Mapping[str, Any]) -> Iterator[_Edge]:
    source = step.get("id")
    if not isinstance(source, str):
        source = ""
    for field in TARGETS:
        if isinstance(step.get(field), str):
            yield _Edge(("steps", place, field), source, step[field], True)
    config = step.get("config")
    if step.get("type") == "branch" and isinstance(config, dict):
        for field in BRANCHES:
            if isinstance(config.get(field), str):
                yield _Edge(("steps", place, "config", field), source, config[field], True)
    before = step.get("depends_on")
    for index, name in enumerate(before if isinstance(before, list) else ()):
        if isinstance(name, str):
            yield _Edge(("steps", place, "depends_on", index), name, source, False)


def _target_faults(edge: _Edge, ids: Mapping[str, int], *, is_graph: bool) -> Iterator[Fault]:
    wanted = edge.target if edge.explicit else edge.source
    if edge.explicit and wanted in {END, NEXT} and is_graph:
        message = f"{wanted} has no meaning in a graph (a step says depends_on): every branch runs to its own end"
        yield Fault(edge.path, "steering_in_graph", message)
    elif wanted not in ids and not (edge.explicit and wanted == END):
        near = difflib.get_close_matches(wanted, ids, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        yield Fault(edge.path, "unknown_target", f"Unknown step id {wanted[:100]!r} in {_field(edge.path)}{hint}")


def _field(path: Path) -> str:
    return next(str(part) for part in reversed(path) if isinstance(part, str))


def _steering_faults(steps: Placed) -> Iterator[Fault]:
    for place, step in steps:
        if isinstance(step.get("config"), dict) and NEXT in step["config"]:
            message = f"{NEXT} has no meaning in a graph (a step says depends_on)"
            yield Fault(("steps", place, "config", NEXT), "steering_in_graph", message)


def _choice_faults(edges: Sequence[_Edge]) -> Iterator[Fault]:
    """Yield dependencies on a branch by steps that it chooses between: these would run whatever it chooses."""
    chosen = {(edge.source, edge.target): _field(edge.path) for edge in edges if edge.path[-1] in BRANCHES}
    for edge in edges:
        field = None if edge.explicit else chosen.get((edge.source, edge.target))
        if field is not None:
            message = f"{edge.target} would run whatever {edge.source} chooses: as its {field} it waits for it already"
            yield Fault(edge.path, "choice_without_effect", message)


def _circles(edges: Sequence[_Edge], ids: Mapping[str, int]) -> Iterator[Fault]:
    explicit = _circle([edge for edge in edges if edge.explicit], ids)
    if explicit:
        yield Fault(("steps",), "explicit_cycle", f"Workflow contains an explicit cycle: {' -> '.join(explicit)}")
        return
    waiting = _circle(edges, ids)
    if waiting:
        yield Fault(("steps",), "dependency_cycle", f"Steps depend on one another: {' -> '.join(waiting)}")


def _circle(edges: Sequence[_Edge], ids: Mapping[str, int]) -> list[str] | None:
    """Return the steps of a circle, the first one again at its end, or None."""
    leads: dict[str, list[str]] = {name: [] for name in ids}
    for edge in edges:
        leads[edge.source].append(edge.target)
    done: set[str] = set()
    for start in ids:
        trail: dict[str, None] = {}
        stack = [(start, iter(leads[start]))] if start not in done else []
        trail[start] = None
        while stack:
            name, targets = stack[-1]
            target = next((found for found in targets if found not in done), None)
            if target is None:
                stack.pop()
                done.add(name)
                trail.pop(name, None)
            elif target in trail:
                names = list(trail)
                return [*names[names.index(target) :], target]
            else:
                trail[target] = None
                stack.append((target, iter(leads[target])))
    return None
