"""Which workflows a definition starts as sub-workflows, and whether that leads back to itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from windlass.contexts.workflows.definitions import store
from windlass.contexts.workflows.definitions.store import Family, Stored
from windlass.contexts.workflows.schemas import Fault, Path

CALL = "workflow_call"
MOST_VISITED = 200
Connection = Any


class Named(NamedTuple):
    """A workflow by the name that its owner gave it; without a version the current one."""

    name: str
    version: int | None


def called(document: Mapping[str, Any]) -> Iterator[tuple[Path, int | Named]]:
    """Yield the workflows that a definition calls: by id or by name; what a template makes up is not known yet."""
    for place, step in enumerate(document["steps"]):
        for at, one in ((("steps", place), step), (("steps", place, "compensate"), step.get("compensate"))):
            if isinstance(one, Mapping) and one.get("type") == CALL:
                config = one.get("config") or {}
                target, name, version = (config.get(field) for field in ("workflow_id", "workflow_name", "version"))
                if isinstance(target, str) and target.strip().isascii() and target.strip().isdigit():
                    target = int(target)
                if type(target) is int:
                    yield (*at, "config", "workflow_id"), target
                if isinstance(name, str) and "{{" not in name:
                    yield (*at, "config", "workflow_name"), Named(name, version if type(version) is int else None)


def call_faults(
    connection: Connection, document: Mapping[str, Any], family: Family, may_see: Callable[[str, str], bool]
) -> list[Fault]:
    """Return what is wrong with the sub-workflows of a definition that is to be saved or made current.

    A workflow that is named before it is there is fine: it may come later. An id must be there.

    Args:
        connection: reads the other definitions.
        document: the definition.
        family: what it is a version of; a call of that name leads back to it, whichever version is current.
        may_see: says whether something of a tenant and an owner exists for the caller.
    """
    faults: list[Fault] = []
    first: tuple[str, ...] = (family.name,)
    waiting = [(first, path, target, family) for path, target in called(document)]
    seen: set[int] = set()
    while waiting and len(seen) < MOST_VISITED:
        names, path, target, caller = waiting.pop()
        direct = len(names) == 1
        if isinstance(target, Named) and caller._replace(name=target.name) == family:
            faults.append(_circle(path, (*names, target.name)))
            continue
        found = _find(connection, target, caller)
        if found is None or found.row.tenant_id != family.tenant_id:
            if direct and isinstance(target, int):
                faults.append(_unknown(path, target))
            continue
        if direct and isinstance(target, int) and not may_see(found.row.tenant_id, found.row.owner_id):
            faults.append(_unknown(path, target))
        elif found.row.id not in seen:
            seen.add(found.row.id)
            further = (*names, found.row.name)
            waiting += [(further, path, inner, found.row.family) for _, inner in called(found.document)]
    return faults


def _find(connection: Connection, target: int | Named, caller: Family) -> Stored | None:
    if isinstance(target, int):
        return store.by_id(connection, target) if 0 < target < 1 << 63 else None
    family = caller._replace(name=target.name)
    if target.version is None:
        return store.current(connection, family)
    return store.by_version(connection, family, target.version)


def _unknown(path: Path, target: int) -> Fault:
    return Fault(path, "unknown_workflow", f"There is no workflow {target}")


def _circle(path: Path, names: tuple[str, ...]) -> Fault:
    message = f"Sub-workflows lead back to their caller: {' -> '.join(names)}"
    return Fault(path, "workflow_call_cycle", message)
