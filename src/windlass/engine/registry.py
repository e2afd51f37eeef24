"""Workflows by name: what this process can run."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from windlass.engine.errors import UnknownWorkflow
from windlass.kernel.checks import BadName, check_name, check_priority, check_text
from windlass.values.codec import Signature

__all__ = ["BadName", "Definition", "Registry", "check_name", "check_text", "default_registry"]


class Definition:
    """A durable function under its name; ``fn`` is the plain function, for tests of its logic alone.

    ``compensate`` gets the scope of a run that failed and with what, and returns what it fails with in the end.
    """

    def __init__(self, fn: Callable[..., Any], *, name: str, queue: str, priority: int, version: str) -> None:
        if not inspect.iscoroutinefunction(fn):
            raise TypeError(f"workflow {name}: write it as 'async def'; blocking code belongs in a step")
        self.fn = fn
        self.name = check_name(name)
        self.queue = check_name(queue)
        self.priority = check_priority(priority, f"workflow {name}: ")
        self.version = version
        self.signature = Signature(fn)
        self.compensate: Callable[[Any, Exception], Awaitable[Exception]] | None = None

    def __repr__(self) -> str:
        return f"<workflow {self.name}>"


class Registry:
    """The workflows of a process."""

    def __init__(self) -> None:
        self._workflows: dict[str, Definition] = {}

    def add(self, workflow: Definition) -> None:
        """Register a workflow.

        Raises:
            ValueError: another function has its name.
        """
        known = self._workflows.get(workflow.name)
        if known is not None and _place(known.fn) != _place(workflow.fn):
            raise ValueError(f"two workflows are named {workflow.name!r}: give one another name=")
        self._workflows[workflow.name] = workflow

    def get(self, name: str) -> Definition:
        """Return a workflow.

        Raises:
            UnknownWorkflow: nothing has this name here.
        """
        try:
            return self._workflows[name]
        except KeyError:
            raise UnknownWorkflow(f"no workflow {name!r} is registered", workflow=name) from None

    def __contains__(self, name: str) -> bool:
        return name in self._workflows

    def __iter__(self) -> Iterator[str]:
        return iter(self._workflows)

    def __len__(self) -> int:
        return len(self._workflows)


def _place(fn: Callable[..., Any]) -> tuple[str, str]:
    return fn.__module__, fn.__qualname__


default_registry = Registry()
