"""Who processes a record: a function or workflow of the user's, registered for its category, or the default rules."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoints, entry_points
from types import ModuleType
from typing import Any, TypeVar, get_type_hints

import orjson
from pydantic import BaseModel, ValidationError

from windlass.contexts.records import rules
from windlass.contexts.records.outcome import Rejected
from windlass.engine.workflow import Workflow
from windlass.kernel.errors import ConfigError

EVERY = "*"
"""The category of the processor for records that no other is registered for."""
ENTRY_POINTS = "windlass.processors"
BAD_PAYLOAD = "classification failed: invalid payload format"

F = TypeVar("F", bound=Callable[..., Any] | Workflow[..., Any])


@dataclass(frozen=True, slots=True)
class Processor:
    """How the records of a category are processed.

    ``work`` gets the payload (as ``schema`` when there is one) and, when it has a second parameter, the category.
    ``retries`` and ``timeout`` (seconds) hold for the step that calls it.
    """

    work: Callable[..., Any] | Workflow[..., Any]
    schema: type[BaseModel] | None = None
    wants_category: bool = False
    retries: int = 0
    timeout: float | None = None

    @property
    def is_async(self) -> bool:
        """Whether it is awaited instead of run in a thread."""
        return inspect.iscoroutinefunction(self.work)

    def read(self, payload: str) -> Any:
        """Return a payload's JSON text as the processor wants it.

        Raises:
            Rejected: the processor's schema refuses it; names the field.
        """
        if self.schema is None:
            return orjson.loads(payload)
        try:
            return self.schema.model_validate_json(payload)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            path = ".".join(map(str, first["loc"]))
            raise Rejected(f"{BAD_PAYLOAD}: {path or 'payload'}: {first['msg']}") from None

    def arguments(self, payload: str, category: str) -> tuple[Any, ...]:
        """Return what the work is called with."""
        value = self.read(payload)
        return (value, category) if self.wants_category else (value,)


def _made(work: Callable[..., Any] | Workflow[..., Any], retries: int = 0, timeout: float | None = None) -> Processor:
    function = work.fn if isinstance(work, Workflow) else work
    names = list(inspect.signature(function).parameters)
    if not names:
        raise TypeError(f"a processor takes the payload: {function.__qualname__}(payload)")
    hint = get_type_hints(function).get(names[0])
    schema = hint if isinstance(hint, type) and issubclass(hint, BaseModel) else None
    return Processor(work, schema, len(names) > 1, retries, timeout)


DEFAULT = _made(rules.classify)


@dataclass(slots=True)
class Processors:
    """The processors of a process, by category."""

    known: dict[str, Processor] = field(default_factory=dict)

    def add(
        self,
        category: str,
        work: Callable[..., Any] | Workflow[..., Any],
        *,
        retries: int = 0,
        timeout: float | None = None,
    ) -> None:
        """Register a function or workflow for a category; ``*`` is every category that has none.

        Raises:
            ConfigError: the category has another processor already.
        """
        made = _made(work, retries, timeout)
        if self.known.get(category, made).work is not work:
            raise ConfigError(f"two processors are registered for the category {category!r}")
        self.known[category] = made

    def find(self, category: str) -> Processor:
        """Return who processes records of a category."""
        return self.known.get(category) or self.known.get(EVERY) or DEFAULT

    def name(self, category: str) -> str:
        """Return the category under which ``find`` finds, or an empty name for the default rules."""
        return category if category in self.known else EVERY if EVERY in self.known else ""

    def workflows(self) -> Mapping[str, Workflow[..., Any]]:
        """Return the processors that are workflows, by workflow name."""
        return {
            processor.work.name: processor.work
            for processor in self.known.values()
            if isinstance(processor.work, Workflow)
        }


declared = Processors()
"""What ``@processor`` has registered in this Python process."""


def processor(category: str, *, retries: int = 0, timeout: float | None = None) -> Callable[[F], F]:
    """Register the decorated function or workflow for a category of records.

    It takes the payload: a dict, or the pydantic model its first parameter is annotated with. It returns an
    ``Outcome``, a mapping or None, and raises ``Rejected`` to fail the record with a reason.

    Args:
        category: which records; ``*`` is every category without a processor of its own.
        retries: further attempts after an exception.
        timeout: seconds an attempt may take.
    """

    def register(work: F) -> F:
        declared.add(category, work, retries=retries, timeout=timeout)
        return work

    return register


@cache
def _installed() -> EntryPoints:
    """Return what other packages register: looking through all of them takes as long as a hundred small queries."""
    return entry_points(group=ENTRY_POINTS)


def load(modules: tuple[str, ...] = ()) -> Processors:
    """Import modules and entry points that register processors, and return all that are declared.

    An entry point of the group ``windlass.processors`` names a module to import, or a function whose category is
    the entry point's name.

    Raises:
        ConfigError: a module cannot be imported; says which.
    """
    for name in modules:
        try:
            import_module(name)
        except ImportError as error:
            raise ConfigError(f"module {name!r} cannot be imported: {error}") from error
    works = {point.name: point.load() for point in _installed()}
    found = Processors(dict(declared.known))
    registered = [one.work for one in found.known.values()]
    for name, work in works.items():
        if not isinstance(work, ModuleType) and work not in registered:
            found.add(name, work)
    return found
