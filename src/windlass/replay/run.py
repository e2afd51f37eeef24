"""The engine's run, which reads its journal and stands still where that ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from windlass.engine.compensation import NAME as COMPENSATION
from windlass.engine.registry import Definition
from windlass.engine.run import Run
from windlass.engine.scope import Scope
from windlass.engine.types import ClaimedRun, Finish, InboxRow, NewEvent, Status
from windlass.kernel.lanes import LaneRules
from windlass.kernel.telemetry import Silent


class Host:
    """A process that shuts down, as far as the run can tell: it starts nothing and keeps nothing."""

    holder = "replay"
    births = 0
    stopping = True
    ending = False

    def __init__(self, at: int) -> None:
        self._at = at
        self.clock = self
        self.telemetry = Silent()
        self.lanes = LaneRules()
        self.commits: Any = None
        self.transactions: Any = None

    def now(self) -> int:
        """Return when the journal ends, in microseconds."""
        return self._at

    def monotonic(self) -> float:
        """Return the same in seconds."""
        return self._at / 1_000_000

    @staticmethod
    def random() -> float:
        """Return a number in [0, 1); nobody will ever see what comes of it."""
        return 0.5

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_args: None


class _Counts(dict[str, int]):
    """How often each name was called in a scope, and which was the last."""

    last: str | None = None

    def __setitem__(self, name: str, count: int) -> None:
        super().__setitem__(name, count)
        self.last = f"{name}#{count}"


class ReplayedRun(Run):
    """A run that reads its journal and then stands still. ``finish`` is how it ended, if it did."""

    def __init__(self, host: Any, workflow: Definition, claimed: ClaimedRun) -> None:
        super().__init__(host, workflow, claimed)
        self.scopes: list[Scope[Run]] = []
        self.finish: Finish | None = None
        self.failed_steps: list[str] = []

    async def _main(self, scope: Scope[Run]) -> None:
        self._watch(scope)
        await super()._main(scope)

    def branch(
        self, scope: Scope[Run], work: Callable[[], Awaitable[Any]], done: Callable[[asyncio.Task[Any]], None]
    ) -> asyncio.Task[Any]:
        """Run a branch under a scope, and see how far that comes."""
        self._watch(scope)
        return super().branch(scope, work, done)

    def _watch(self, scope: Scope[Run]) -> None:
        scope.counts = _Counts()
        self.scopes.append(scope)

    async def wait(
        self,
        due: int | None = None,  # noqa: ARG002  it never comes
        listen: str | None = None,  # noqa: ARG002
        status: Status = Status.RUNNING,  # noqa: ARG002
    ) -> InboxRow | None:
        """Stand still: nothing that is waited for ever comes."""
        await self.hold()
        return None

    def settle_soon(self) -> None:
        """Stay in memory."""

    async def commit(self, events: list[NewEvent], *, finish: Finish | None = None, **_: Any) -> Any:
        """Keep an end; anything else that would be written stands still."""
        if finish is None:
            await self.hold()
        self.finish = finish
        for event in events:
            self.failed_steps.extend(orjson.loads(event.payload).get("failed_steps") or ())

    def standing(self) -> tuple[str, ...]:
        """Return the paths of the calls with which the code would go on."""
        known = {} if self.history is None else self.history.calls
        found = []
        for scope in self.scopes:
            last = scope.counts.last if isinstance(scope.counts, _Counts) else None
            path = f"{scope.prefix}{last}"
            if last is not None and scope.task is not None and (path not in known or known[path].settled is None):
                found.append(path)
        return tuple(found)

    def unread(self) -> list[str]:
        """Return recorded calls that the code has not come to, in the journal's order.

        What a failure beside them kept from being called is left out, and so is undoing: both are known by the
        recorded failure alone.
        """
        if self.history is None:
            return []
        places = {scope.prefix: scope.at for scope in self.scopes}
        halted = {_group(scope.prefix) for scope in self.scopes if scope.stopped}
        left = []
        for prefix, order in self.history.orders.items():
            first = prefix.partition("/")[0]
            halts = any(prefix.startswith(group) for group in halted if group)
            if first == COMPENSATION or "#" in prefix or halts:
                continue
            left.extend(order[places.get(prefix, 0) :])
        if self.finish is not None and self.finish.status is Status.FAILED:
            left = [path for path in left if not path.startswith(COMPENSATION)]
        return sorted(left, key=lambda path: self.history.calls[path].begun)  # type: ignore[union-attr]


def _group(prefix: str) -> str:
    """Return what the branches of a group have in common: ``g1.0/`` → ``g1.``."""
    return prefix[: prefix.rindex(".") + 1] if "." in prefix else ""
