"""Where a call of the code stands in its run: the path by which the journal knows it. Promise 4."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from windlass.engine.errors import BareTaskError, Suspend
from windlass.engine.history import Recorded
from windlass.engine.host import Replayed

RunT = TypeVar("RunT", bound=Replayed)


class Scope(Generic[RunT]):
    """Where calls get their paths: the workflow itself, or one branch of a ``gather`` or ``map``."""

    __slots__ = ("at", "counts", "groups", "order", "prefix", "run", "seen", "stopped", "task")

    def __init__(self, run: RunT, prefix: str) -> None:
        self.run = run
        self.prefix = prefix
        self.counts: dict[str, int] = {}
        self.groups = 0
        self.task: asyncio.Task[Any] | None = None
        self.order: Sequence[str] = () if run.history is None else run.history.orders.get(prefix, ())
        self.at = 0
        self.seen = 0
        self.stopped = False

    def enter(self, name: str, kind: str) -> tuple[str, Recorded | None]:
        """Return the path of the next call named ``name``, a step or child say, and what the journal knows of it.

        Raises:
            NonDeterminismError: the journal holds another call at this place, or the run has diverged before.
        """
        run = self.run
        if run.gone:
            raise Suspend
        if self.stopped:
            raise asyncio.CancelledError
        if run.divergence is not None:
            raise run.divergence
        count = self.counts[name] = self.counts.get(name, 0) + 1
        path = f"{self.prefix}{name}#{count}"
        at = self.at
        if at >= len(self.order):
            return path, None
        self.at = at + 1
        run.progress += 1
        if self.order[at] != path or run.history is None:
            raise run.diverged(f"the journal holds {self.order[at]!r} where the code calls {path!r}")
        recorded = run.history.calls[path]
        if recorded.kind != kind:
            raise run.diverged(f"the journal holds a {recorded.kind} at {path!r} where the code calls a {kind}")
        return path, recorded

    def peek(self, name: str) -> Recorded | None:
        """Return what the journal knows of the next call named ``name``, without making it."""
        history = self.run.history
        return None if history is None else history.calls.get(f"{self.prefix}{name}#{self.counts.get(name, 0) + 1}")

    def hear(self, seq: int | None = None) -> None:
        """Note which event the code hears of; None is one that is only now being written.

        By this it is known who was first: live as in a replay.
        """
        self.seen = self.run.tick() if seq is None else seq

    def leave(self) -> None:
        """Check that a finished scope called everything its journal holds."""
        if self.at < len(self.order):
            raise self.run.diverged(f"the journal holds {self.order[self.at]!r}, which the code never calls")


CURRENT: ContextVar[Scope[Any] | None] = ContextVar("windlass_scope", default=None)
HELD: ContextVar[Any] = ContextVar("windlass_run")
"""The run whose code this is, also in its steps, unless another process or machine carries them out."""


def current_scope(what: str) -> Scope[Any]:
    """Return the scope of the calling task.

    Raises:
        RuntimeError: called outside a run.
        BareTaskError: called from a task the engine did not start; names ``what`` was called.
    """
    scope = CURRENT.get()
    if scope is None:
        raise RuntimeError(f"{what} works inside a workflow only")
    if asyncio.current_task() is not scope.task:
        raise BareTaskError(
            f"{what} was called from a task of its own, so its place in the run cannot be told; "
            "use windlass.gather or windlass.map instead of asyncio's tasks",
            call=what,
        )
    return scope
