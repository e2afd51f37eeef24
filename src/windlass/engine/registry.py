"""Workflows by name: what this process can run."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from windlass.engine.errors import UnknownWorkflow
from windlass.kernel.checks import BadName, check_name, check_priority, check_text
from windlass.kernel.versions import UNBOUND, check_version, code_of, rank_of
from windlass.values.codec import Signature

__all__ = ["BadName", "Definition", "Registry", "check_name", "check_text", "default_registry"]


class Definition:
    """A durable function under its name; ``fn`` is the plain function, for tests of its logic alone.

    ``compensate`` gets the scope of a run that failed and with what, and returns what it fails with in the end.
    ``code`` stands for its name and version.
    """

    def __init__(
        self, fn: Callable[..., Any], *, name: str, queue: str, priority: int, version: str, current: bool = False
    ) -> None:
        if not inspect.iscoroutinefunction(fn):
            raise TypeError(f"workflow {name}: write it as 'async def'; blocking code belongs in a step")
        self.fn = fn
        self.name = check_name(name)
        self.queue = check_name(queue)
        self.priority = check_priority(priority, f"workflow {name}: ")
        self.version = check_version(version, f"workflow {name}: ")
        self.code = code_of(self.name, self.version)
        self.current = current
        self.signature = Signature(fn)
        self.compensate: Callable[[Any, Exception], Awaitable[Exception]] | None = None

    def __repr__(self) -> str:
        return f"<workflow {self.code}>"


class Registry:
    """The workflows of a process, each in one or more versions; iterating yields their names.

    ``codes`` are those of the runs that it can carry out: the versions that new runs get come first, and those of runs
    that are bound to no version come last.
    """

    def __init__(self) -> None:
        self._known: dict[str, Definition] = {}
        self._current: dict[str, Definition] = {}
        self.codes: tuple[str, ...] = ()

    def add(self, workflow: Definition) -> None:
        """Register a version of a workflow. New runs get the one that is ``current``, else the highest.

        Raises:
            ValueError: another function has its name and version, or another version is current too.
        """
        known = self._known.get(workflow.code)
        if known is not None and _place(known.fn) != _place(workflow.fn):
            raise ValueError(f"two workflows are named {workflow.code!r}: give one another name= or version=")
        same = [one for one in self._known.values() if one.name == workflow.name and one.code != workflow.code]
        if workflow.current and any(one.current for one in same):
            raise ValueError(f"two versions of {workflow.name!r} are current")
        self._known[workflow.code] = workflow
        newest = max([*same, workflow], key=lambda one: (one.current, rank_of(one.version)))
        self._current[workflow.name] = newest
        first = {one.code: None for one in self._current.values()}
        self.codes = (*(first | dict.fromkeys(self._known)), *(code_of(name, UNBOUND) for name in self._current))

    def get(self, name: str, version: str | None = None) -> Definition:
        """Return a version of a workflow, or the one that new runs get.

        Raises:
            UnknownWorkflow: nothing has this name here, or not in this version.
        """
        code = name if version is None else code_of(name, version)
        found = self._current.get(name) if version is None else self._known.get(code)
        if found is None:
            raise UnknownWorkflow(f"no workflow {code!r} is registered", workflow=name)
        return found

    def knows(self, code: str) -> bool:
        """Whether the version of a workflow that has this code is registered."""
        return code in self._known

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Return every version of every workflow."""
        return tuple(self._known.values())

    def __contains__(self, name: str) -> bool:
        return name in self._current

    def __iter__(self) -> Iterator[str]:
        return iter(self._current)

    def __len__(self) -> int:
        return len(self._current)


def _place(fn: Callable[..., Any]) -> tuple[str, str]:
    return fn.__module__, fn.__qualname__


default_registry = Registry()
