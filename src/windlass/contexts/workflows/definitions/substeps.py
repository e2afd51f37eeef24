"""Steps inside steps: where they are, and which types may be there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs

from windlass.contexts.workflows.definitions.catalogue import Catalogue
from windlass.contexts.workflows.definitions.format import SUB_STEP
from windlass.contexts.workflows.schemas import Fault, Path

STRUCTURE = jsonschema_rs.Draft202012Validator(SUB_STEP, mask="Input")

_INNER = {"map": ("step",), "parallel": ("steps",), "retry": ("type", "config")}


def inner_steps(kind: str, config: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    """Yield the sub-steps of a step with their paths from the step on."""
    if kind == "map" and "step" in config:
        yield ("config", "step"), config["step"]
    elif kind == "parallel" and isinstance(config.get("steps"), list):
        yield from ((("config", "steps", place), inner) for place, inner in enumerate(config["steps"]))


def is_inner(kind: str, path: Path) -> bool:
    """Say whether a path within a config is one of a sub-step, which is checked by itself."""
    first = path[0] if path else None
    return first in _INNER.get(kind, ()) and (first != "steps" or len(path) > 1)


def inner_faults(kind: str, outer: str, catalogue: Catalogue) -> list[Fault]:
    """Return what keeps a type from standing inside another step; an unknown type is told elsewhere."""
    known = catalogue.known(kind)
    if known is None or known.mapable or (kind == "retry" and outer in {"map", "parallel"}):
        return []
    able = ", ".join(name for name in catalogue.names() if (found := catalogue.known(name)) and found.mapable)
    return [Fault(("type",), "not_mapable", f"{kind} cannot stand inside {outer}: these can: {able}")]


def duplicate_faults(kind: str, config: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield ids that two branches of one step share."""
    seen: set[str] = set()
    for path, inner in inner_steps(kind, config):
        name = inner.get("id") if isinstance(inner, dict) else None
        if isinstance(name, str):
            if name in seen:
                yield Fault((*path, "id"), "duplicate_step_id", f"Duplicate step id: {name}")
            seen.add(name)
