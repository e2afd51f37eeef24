"""Workflows by name: what this process can run."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Generic, ParamSpec, TypeVar, overload

from windlass.engine.codec import Signature
from windlass.engine.errors import UnknownWorkflow

P = ParamSpec("P")
R = TypeVar("R")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.<>:-]{0,199}")


def check_name(name: str) -> str:
    """Return a workflow, step or queue name unchanged.

    Raises:
        ValueError: it is not 1 to 200 letters, digits and ``_ . : < > -``, beginning with a letter or ``_``.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name: use 1 to 200 letters, digits and _ . : < > -")
    return name


class Workflow(Generic[P, R]):
    """A durable function. Called inside another workflow it runs as a child; else start it with an ``Engine``.

    ``fn`` is the plain function, for tests of its logic alone.
    """

    def __init__(self, fn: Callable[P, Awaitable[R]], *, name: str, queue: str, priority: int, version: str) -> None:
        if not inspect.iscoroutinefunction(fn):
            raise TypeError(f"workflow {name}: write it as 'async def'; blocking code belongs in a step")
        self.fn = fn
        self.name = check_name(name)
        self.queue = check_name(queue)
        self.priority = priority
        self.version = version
        self.signature = Signature(fn)
        self.__doc__ = fn.__doc__
        self.__name__ = fn.__name__

    def __repr__(self) -> str:
        return f"<workflow {self.name}>"

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run as a child of the current run and return its output.

        Raises:
            RuntimeError: called outside a run; use ``engine.start_run``.
            RunFailed, RunCancelled: the child ended so.
        """
        from windlass.engine.api import call_child  # noqa: PLC0415  authoring sits above the registry

        result: R = await call_child(self, args, kwargs)
        return result


class Registry:
    """The workflows of a process."""

    def __init__(self) -> None:
        self._workflows: dict[str, Workflow[..., Any]] = {}

    def add(self, workflow: Workflow[..., Any]) -> None:
        """Register a workflow.

        Raises:
            ValueError: another function has its name.
        """
        known = self._workflows.get(workflow.name)
        if known is not None and _place(known.fn) != _place(workflow.fn):
            raise ValueError(f"two workflows are named {workflow.name!r}: give one another name=")
        self._workflows[workflow.name] = workflow

    def get(self, name: str) -> Workflow[..., Any]:
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


@overload
def workflow(fn: Callable[P, Awaitable[R]], /) -> Workflow[P, R]: ...
@overload
def workflow(
    *,
    name: str | None = None,
    queue: str = "default",
    priority: int = 0,
    version: str = "1",
    registry: Registry | None = None,
) -> Callable[[Callable[P, Awaitable[R]]], Workflow[P, R]]: ...
def workflow(
    fn: Callable[P, Awaitable[R]] | None = None,
    /,
    *,
    name: str | None = None,
    queue: str = "default",
    priority: int = 0,
    version: str = "1",
    registry: Registry | None = None,
) -> Workflow[P, R] | Callable[[Callable[P, Awaitable[R]]], Workflow[P, R]]:
    """Make an async function a durable workflow.

    Args:
        fn: the function, when used without parentheses.
        name: how runs refer to it, for ever; the function's qualified name by default.
        queue: where its runs wait for a worker.
        priority: smaller goes first.
        version: of its interface, kept with each run.
        registry: where it is registered; the process's default registry by default.
    """

    def wrap(function: Callable[P, Awaitable[R]]) -> Workflow[P, R]:
        made = Workflow(
            function,
            name=name or function.__qualname__.replace("<locals>.", ""),
            queue=queue,
            priority=priority,
            version=version,
        )
        (default_registry if registry is None else registry).add(made)
        return made

    return wrap if fn is None else wrap(fn)
