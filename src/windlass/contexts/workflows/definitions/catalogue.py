"""What definitions have to know of step types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from windlass.contexts.workflows.schemas import Fault, Path
from windlass.contexts.workflows.steptypes.base import StepType

CONFIG_INVALID = "config_invalid"
_REQUIRED = re.compile(r'"(.+)" is a required property')


class Catalogue(Protocol):
    """The step types that there are."""

    def names(self) -> Sequence[str]:
        """Return the name of each type, in order."""
        ...

    def known(self, name: str) -> StepType | None:
        """Return a type, or None."""
        ...

    def check(self, name: str, config: Mapping[str, Any]) -> Iterable[Fault]:
        """Yield what is wrong with the config of a known type, paths beginning within the config.

        What the type itself says: its schema, and its bounds. Sub-steps are checked by their definition.
        """
        ...


class Problem(Protocol):
    """What a type finds wrong with a config: where (``config.step.type``), and in words."""

    @property
    def path(self) -> str:
        """Where."""
        ...

    @property
    def message(self) -> str:
        """In words."""
        ...


class Registry(Protocol):
    """Where step types are registered."""

    def __iter__(self) -> Iterator[StepType]:
        """Go through the types."""
        ...

    def known(self, name: object) -> bool:
        """Whether there is such a type."""
        ...

    def of(self, name: str) -> StepType:
        """Return a type."""
        ...

    def check(self, name: str, config: Mapping[str, Any]) -> Iterable[Problem]:
        """Return what is wrong with a config."""
        ...


class Registered:
    """See ``Catalogue``: the types of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def names(self) -> Sequence[str]:
        """Return the name of each type."""
        return sorted(kind.name for kind in self._registry)

    def known(self, name: str) -> StepType | None:
        """Return a type, or None."""
        return self._registry.of(name) if self._registry.known(name) else None

    def check(self, name: str, config: Mapping[str, Any]) -> Iterable[Fault]:
        """Yield what is wrong with a config."""
        for problem in self._registry.check(name, config):
            path, message = _within(config, problem.path), problem.message
            if missing := _REQUIRED.fullmatch(message):
                path, message = (*path, missing[1]), "Field required"
            yield Fault(path, CONFIG_INVALID, message)


def _within(config: Mapping[str, Any], told: str) -> Path:
    """Return a dotted path as one within the config: numbers where it leads through a list."""
    path: list[str | int] = []
    value: Any = config
    for part in told.split(".")[1:]:
        place: str | int = int(part) if isinstance(value, list) and part.isdigit() else part
        path.append(place)
        if isinstance(value, list):
            value = value[place] if isinstance(place, int) and place < len(value) else None
        else:
            value = value.get(part) if isinstance(value, Mapping) else None
    return tuple(path)


def described(step_type: StepType) -> dict[str, Any]:
    """Return a type as it is told to users."""
    can = step_type.capabilities
    schema = dict(step_type.schema) or {"type": "object", "additionalProperties": True}
    return {
        "name": step_type.name,
        "description": step_type.description,
        "schema": {**schema, "min_engine_version": step_type.min_engine_version},
        "example": dict(step_type.example),
        "min_engine_version": step_type.min_engine_version,
        "capabilities": {
            "replay_safe": can.replay_safe,
            "idempotency_strategy": can.idempotency_strategy,
            "compensation_supported": can.compensation_supported,
            "requires_human_review_for_rerun": can.requires_human_review_for_rerun,
            "evidence_level": can.evidence_level,
        },
    }
