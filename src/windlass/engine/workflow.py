"""``@workflow``: how a durable function is written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, ParamSpec, TypeVar, overload

from windlass.engine.api import call_child
from windlass.engine.compensation import compensate
from windlass.engine.registry import Definition, Registry, default_registry

P = ParamSpec("P")
R = TypeVar("R")


class Workflow(Definition, Generic[P, R]):
    """A durable function. Called inside another workflow it runs as a child; else start it with an ``Engine``."""

    def __init__(
        self, fn: Callable[P, Awaitable[R]], *, name: str, queue: str, priority: int, version: str, current: bool
    ) -> None:
        super().__init__(fn, name=name, queue=queue, priority=priority, version=version, current=current)
        self.compensate = compensate
        self.__doc__ = fn.__doc__
        self.__name__ = getattr(fn, "__name__", name)

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run as a child of the current run and return its output.

        Raises:
            RuntimeError: called outside a run; use ``engine.start_run``.
            RunFailed, RunCancelled: the child ended so.
        """
        result: R = await call_child(self, args, kwargs)
        return result


@overload
def workflow(fn: Callable[P, Awaitable[R]], /) -> Workflow[P, R]: ...
@overload
def workflow(
    *,
    name: str | None = None,
    queue: str = "default",
    priority: int = 0,
    version: str = "1",
    current: bool = False,
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
    current: bool = False,
    registry: Registry | None = None,
) -> Workflow[P, R] | Callable[[Callable[P, Awaitable[R]]], Workflow[P, R]]:
    """Make an async function a durable workflow.

    Args:
        fn: the function, when used without parentheses.
        name: how runs refer to it, for ever; the function's qualified name by default.
        queue: where its runs wait for a worker.
        priority: smaller goes first.
        version: of its interface, kept with each run: only code of this version carries it out.
        current: whether new runs get this version, also when another one is higher.
        registry: where it is registered; the process's default registry by default.
    """

    def wrap(function: Callable[P, Awaitable[R]]) -> Workflow[P, R]:
        made = Workflow(
            function,
            name=name or function.__qualname__.replace("<locals>.", ""),
            queue=queue,
            priority=priority,
            version=version,
            current=current,
        )
        (default_registry if registry is None else registry).add(made)
        return made

    return wrap if fn is None else wrap(fn)
