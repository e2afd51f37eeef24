"""``gather`` and ``map``: branches of a run side by side, each with paths of its own. Promise 4."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from windlass.engine.errors import Suspend
from windlass.engine.failures import beside
from windlass.engine.run import Run
from windlass.engine.scope import Scope, current_scope

T = TypeVar("T")
A = TypeVar("A")
Work = Callable[[], Awaitable[Any]]


async def gather(*work: Awaitable[Any], return_exceptions: bool = False, limit: int | None = None) -> list[Any]:
    """Run steps, children or any coroutines of the workflow side by side; results come in the order given.

    The first failure (by the journal's order, so that a replay sees the same) cancels the others and is raised.

    Args:
        work: coroutines, not yet awaited.
        return_exceptions: return failures among the results instead.
        limit: how many may run at once.
    """
    group = Group(current_scope("gather"), "g", [_awaiting(item) for item in work], return_exceptions, limit)
    try:
        return await group.run()
    finally:
        for item in work:
            if inspect.iscoroutine(item) and inspect.getcoroutinestate(item) == inspect.CORO_CREATED:
                item.close()


async def map(  # noqa: A001  the name users expect, meant to be used as windlass.map
    fn: Callable[[A], Awaitable[T]], items: Iterable[A], *, limit: int = 10, return_exceptions: bool = False
) -> list[T]:
    """Call ``fn`` for every item, at most ``limit`` at once; results come in the items' order."""
    work = [_calling(fn, item) for item in items]
    return await Group(current_scope("map"), "m", work, return_exceptions, limit).run()


def _awaiting(item: Awaitable[T]) -> Callable[[], Awaitable[T]]:
    return lambda: item


def _calling(fn: Callable[[A], Awaitable[T]], item: A) -> Callable[[], Awaitable[T]]:
    return lambda: fn(item)


class Group:
    """The branches of one ``gather`` or ``map``."""

    def __init__(
        self, scope: Scope[Run], kind: str, work: Sequence[Work], keep_errors: bool, limit: int | None
    ) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        scope.groups += 1
        self._scope = scope
        self._run = scope.run
        self._prefix = f"{scope.prefix}{kind}{scope.groups}."
        self._work = work
        self._keep_errors = keep_errors
        self._width = len(work) if limit is None else min(limit, len(work))
        self._join: asyncio.Future[None] = scope.run.loop.create_future()
        self._tasks: list[asyncio.Task[Any]] = []
        self._scopes: list[Scope[Run]] = []
        self._open = 0
        self._failed = False

    async def run(self) -> list[Any]:
        """Run all branches and return their results."""
        if not self._work:
            return []
        for _ in range(self._width):
            self._launch()
        try:
            await self._run.block(self._join)
        except asyncio.CancelledError:
            self._stop()
            raise
        return self._results()

    def _launch(self) -> None:
        place = len(self._tasks)
        if place < len(self._work):
            self._open += 1
            scope = Scope(self._run, f"{self._prefix}{place}/")
            self._scopes.append(scope)
            self._tasks.append(self._run.branch(scope, self._work[place], self._done))

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._open -= 1
        if not self._keep_errors and not self._failed and (task.cancelled() or task.exception() is not None):
            self._stop()
        if not self._failed:
            self._launch()
        if self._open == 0:
            self._run.release(self._join, None)

    def _stop(self) -> None:
        self._failed = True
        for scope in self._scopes:
            scope.stopped = True
        for task in self._tasks:
            task.cancel()

    def _results(self) -> list[Any]:
        failed: list[tuple[int, BaseException]] = []
        for task, scope in zip(self._tasks, self._scopes, strict=True):
            error = None if task.cancelled() else task.exception()
            if isinstance(error, Suspend):
                raise error
            if error is not None:
                failed.append((scope.seen, error))
        if failed and not self._keep_errors:
            self._scope.seen, first = min(failed, key=lambda failure: failure[0])
            beside(first, [error for _, error in failed])
            raise first
        self._scope.seen = max(scope.seen for scope in self._scopes)
        return [task.exception() or task.result() for task in self._tasks]
