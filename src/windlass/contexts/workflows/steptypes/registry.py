"""The catalogue: every step type there is, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from windlass.contexts.workflows import templates
from windlass.contexts.workflows.failures import StepFailure
from windlass.contexts.workflows.scanning import is_template
from windlass.contexts.workflows.steptypes import checking
from windlass.contexts.workflows.steptypes.base import StepType
from windlass.contexts.workflows.steptypes.checking import Problem
from windlass.contexts.workflows.steptypes.control import CONTROL
from windlass.contexts.workflows.steptypes.data import DATA_TYPES
from windlass.contexts.workflows.steptypes.documents import DOCUMENTS
from windlass.contexts.workflows.steptypes.functions import PYTHON
from windlass.contexts.workflows.steptypes.policy import POLICY
from windlass.contexts.workflows.steptypes.sheets import SHEETS
from windlass.contexts.workflows.steptypes.text import TEXT

BUILT_IN = (*CONTROL, *POLICY, *DATA_TYPES, *SHEETS, *TEXT, *DOCUMENTS, PYTHON)


class _Inner(NamedTuple):
    """A step within a step."""

    type_path: str
    config_path: str
    type: str
    config: Mapping[str, Any]


class Prepared:
    """A step's config, compiled and checked as far as it can be before there are names."""

    __slots__ = ("_compiled", "_kind", "names", "ready")

    def __init__(self, kind: StepType, config: Mapping[str, Any], field: str) -> None:
        self._kind = kind
        self._compiled = templates.compile_config(config, raw=kind.raw, field=field)
        self.names = self._compiled.names
        self.ready: Mapping[str, Any] | None = checking.settled(kind, config) if self._compiled.constant else None
        """What it resolves to where it has no templates."""

    def resolve(self, names: Mapping[str, Any], work: int = templates.WORK) -> Mapping[str, Any]:
        """Return the config a step works with: templates resolved, defaults filled in, checked. Do not change it.

        Raises:
            StepFailure: ``template_error``, or ``validation_error``: what the templates became does not fit.
        """
        return (
            self.ready if self.ready is not None else checking.settled(self._kind, self._compiled.resolve(names, work))
        )


class StepTypes:
    """The step types of a process.

    Args:
        more: types beside the built-in ones.
        functions: those registered in code; given, a ``python`` step that names another is refused.
    """

    def __init__(
        self, more: Iterable[StepType] = (), *, functions: Mapping[str, Callable[..., Any]] | None = None
    ) -> None:
        self._functions = functions
        self._types: dict[str, StepType] = {}
        for kind in (*BUILT_IN, *more):
            self.add(kind)

    def add(self, kind: StepType) -> None:
        """Add a type.

        Raises:
            ValueError: its name is taken, or its schema is none.
        """
        if kind.name in self._types:
            raise ValueError(f"two step types are called {kind.name!r}")
        checking.validator(kind.schema)
        self._types[kind.name] = kind

    def __iter__(self) -> Iterator[StepType]:
        return iter(self._types.values())

    def known(self, name: object) -> bool:
        """Whether there is such a type."""
        return isinstance(name, str) and name in self._types

    def of(self, name: str) -> StepType:
        """Return a type.

        Raises:
            StepFailure: ``unknown_step_type``.
        """
        found = self._types.get(name)
        if found is None:
            raise StepFailure("unknown_step_type", f"Unknown step type: {name}", retryable=False)
        return found

    def check(self, name: str, config: Mapping[str, Any]) -> list[Problem]:
        """Return what is wrong with the config of a step, its inner steps included; nothing when all is well."""
        return list(self._check(name, config))[: checking.MOST_PROBLEMS]

    def _check(self, name: str, config: Mapping[str, Any]) -> Iterator[Problem]:
        if not self.known(name):
            yield Problem("type", f"Unknown step type: {str(name)[:100]}")
            return
        yield from checking.check_config(self._types[name], config)
        if name == "python" and (function := self._unregistered(config.get("function"))):
            yield Problem("config.function", f"no function is registered as {function[:100]!r}")
        for inner in _inner(name, config):
            yield from self._check_inner(inner)

    def _unregistered(self, function: object) -> str | None:
        if self._functions is None or not isinstance(function, str) or is_template(function):
            return None
        return None if function in self._functions else function

    def _check_inner(self, inner: _Inner) -> Iterator[Problem]:
        name = inner.type
        if self.known(name) and not self._types[name].mapable:
            yield Problem(inner.type_path, f"a step of the type {name} cannot stand within another")
            return
        for problem in self._check(name, inner.config):
            inside = problem.path.removeprefix("config")
            path = inner.type_path if problem.path == "type" else inner.config_path + inside
            yield Problem(path, problem.message)

    def prepare(self, name: str, config: Mapping[str, Any], *, field: str = "config") -> Prepared:
        """Return a config ready to be resolved, once for each step of a definition.

        Raises:
            StepFailure: what can be known now is wrong.
        """
        return Prepared(self.of(name), config, field)

    def discovery(self) -> list[dict[str, Any]]:
        """Return what ``GET /step-types`` answers."""
        return [
            {
                "name": kind.name,
                "description": kind.description,
                "schema": {**kind.schema, "min_engine_version": kind.min_engine_version},
                "example": dict(kind.example),
                "min_engine_version": kind.min_engine_version,
                "capabilities": asdict(kind.capabilities),
            }
            for kind in sorted(self._types.values(), key=lambda kind: kind.name)
        ]


def _inner(name: str, config: Mapping[str, Any]) -> Iterator[_Inner]:
    """Yield the steps within a step."""
    if name == "retry" and isinstance(config.get("step_type"), str):
        yield _Inner("config.step_type", "config.step_config", config["step_type"], _mapping(config.get("step_config")))
        return
    steps = {"map": [config.get("step")], "parallel": config.get("steps")}.get(name)
    for at, step in enumerate(steps if isinstance(steps, list) else []):
        if isinstance(step, Mapping) and isinstance(step.get("type"), str):
            path = "config.step" if name == "map" else f"config.steps.{at}"
            yield _Inner(f"{path}.type", f"{path}.config", step["type"], _mapping(step.get("config")))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
