"""An engine in memory for a test, on a clock that skips: when nothing is left to do, time jumps to the next timer.

It lives on the test's own event loop, whose time it takes over meanwhile: a step's time-out, ``asyncio.sleep`` and the
test's own ``asyncio.timeout`` are of the skipped time too. Threads are waited for, and so is what comes in from the
network, for a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from windlass.engine.engine import Engine
from windlass.engine.registry import Definition, Registry
from windlass.engine.types import Event, Status
from windlass.kernel.actors import DEVELOPER
from windlass.kernel.clock import SECOND, SystemClock, from_datetime, to_datetime
from windlass.live.api import Live
from windlass.storage.batches import Pending
from windlass.storage.committer import Committer
from windlass.storage.memory.backend import MemoryBackend
from windlass.storage.memory.store import MemoryStore
from windlass.testing.heavy import keep_in_threads
from windlass.testing.skipping import NeverEnds, Skipper, skipping

if TYPE_CHECKING:
    from windlass.contexts.schedules.api import Schedules
    from windlass.testing.scheduling import TestSchedule

LEASE_SECONDS = 15.0


class SkippingClock:
    """Wall time that goes with the time of the event loop, from ``start`` (microseconds) on."""

    def __init__(self, skipper: Skipper, start: int) -> None:
        self._skipper = skipper
        self._start = start
        self._begun = skipper.time()

    def now(self) -> int:
        """Return wall time in microseconds."""
        return self._start + int((self._skipper.time() - self._begun) * SECOND)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self._skipper.time()

    @property
    def passed(self) -> float:
        """How many seconds have passed since the engine started."""
        return self._skipper.time() - self._begun

    def today(self) -> datetime:
        """Return the date and time that a workflow sees now, in UTC."""
        return to_datetime(self.now())


class InlineCommitter(Committer):
    """Writes on the event loop, one batch a turn: there is no thread that time would have to wait for."""

    changed: Callable[[], None] = staticmethod(lambda: None)

    def start(self) -> None:
        """There is no thread."""

    def _write(self, batch: list[Pending]) -> list[Pending]:
        kept = super()._write(batch)
        self.changed()
        return kept

    def _wake_thread(self) -> None:
        asyncio.get_running_loop().call_soon(self._write_all)

    def _write_all(self) -> None:
        batch = self._take(self._max_batch)
        if batch:
            kept = self._write(batch)
            self._queue.extendleft(reversed(kept))


keep_in_threads(lambda run: isinstance(run.worker.commits, InlineCommitter))


class TestEngine(Engine):
    """An engine of a test. Beside what every ``Engine`` can do, it runs a workflow to its end in one call."""

    __test__ = False
    clock: SkippingClock

    def __init__(
        self, store: MemoryStore, clock: SkippingClock, registry: Registry | None, options: dict[str, Any]
    ) -> None:
        self.store = store
        self._beside = AsyncExitStack()
        self._schedules: Schedules | None = None
        committer = InlineCommitter(MemoryBackend(store).write_session())
        super().__init__(
            MemoryBackend(store), committer, clock=clock, registry=registry, lease_seconds=LEASE_SECONDS, live=Live,
            **options,
        )  # fmt: skip
        committer.on_rings = self.worker.on_rings
        committer.changed = self._changed
        self._waiting: list[asyncio.Future[None]] = []
        self._rung: tuple[int, str] | None = None
        self.worker._poll_loop = self._no_rounds  # type: ignore[method-assign]

    @staticmethod
    async def _no_rounds() -> None:
        """Look for nothing once a second: there is one process, which hears of all there is."""
        await asyncio.get_running_loop().create_future()

    def next_wake(self) -> float | None:
        """Return in how many seconds the next parked run goes on; None when none waits for a time."""
        due = self.store.runs.next_wake()
        if due is None or due == self._rung or self.worker.stopping:
            return None
        return (due[0] - self.clock.now()) / SECOND

    def wake(self) -> None:
        """Look which parked runs are due; once for each, or time would stand still for one that cannot go on."""
        self._rung = self.store.runs.next_wake()
        self.worker.ring_claims()

    def never(self) -> None:
        """Tell who waits for a run, or for its end, that it is in vain."""
        for key, futures in self.worker.results.items():
            run_id = key
            while run_id and run_id not in self.store.runs:  # an answer is waited for by its id behind the run's
                run_id = run_id.rpartition("/")[0]
            head = self.store.runs[run_id].head
            why = head.wait_reason or "something that the engine does not know"
            for future in futures:
                if not future.done():
                    future.set_exception(NeverEnds(f"run {run_id} ({head.name}) waits for {why}, which never comes"))
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(NeverEnds("it never comes to that: everything waits"))

    def _changed(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def run(
        self, workflow: Definition, *args: Any, signals: Sequence[tuple[str, object]] = (), **kwargs: Any
    ) -> Any:
        """Run a workflow to its end and return its output; ``signals`` (names and payloads) are sent at once.

        Raises:
            RunFailed, RunCancelled: it ended so.
            NeverEnds: it waits for something that never comes, a signal that nobody sends say.
        """
        handle = await self.start_run(workflow, *args, **kwargs)
        for name, payload in signals:
            await self.signal(handle.run_id, name, payload)
        return await handle.result()

    async def until(self, run_id: str, *statuses: str) -> None:
        """Let time pass until a run is in one of these statuses, or waits when none is named.

        Raises:
            NeverEnds: it never comes to that.
        """
        wanted = [Status(status) for status in statuses]
        while True:
            view = await self.get_run(run_id)
            if view.status in wanted or (not wanted and view.holder is None and view.wait_reason is not None):
                return
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter

    async def schedule(
        self,
        cron: str,
        workflow: Definition | str,
        inputs: Mapping[str, Any] | None = None,
        *,
        timezone: str = "UTC",
        **more: Any,
    ) -> TestSchedule:
        """Start a workflow by the clock from now on, as a schedule of a server does.

        From then on there is always something to wait for: time goes on without an end for who waits in vain.

        Args:
            cron: a crontab line.
            workflow: what is started, or its name.
            inputs: its input by name.
            timezone: which clock the line is read by.
            more: further fields of a schedule: ``concurrency_mode``, ``misfire_grace_sec``, ``coalesce``, …

        Raises:
            ValidationFailed: the line or another field is wrong; names it.
            UnknownTarget: the engine does not know the workflow, or the input does not fit it.
        """
        from windlass.testing.scheduling import TestSchedule, open_schedules  # noqa: PLC0415  few tests need it

        if self._schedules is None:
            another = TestEngine(self.store, self.clock, Registry(), {})
            self._schedules = open_schedules(self, another, self.store)
            skipper = self._beside.enter_context(skipping(asyncio.get_running_loop()))
            skipper.sleepers.append(another)
            self._beside.callback(skipper.sleepers.remove, another)
            await self._beside.enter_async_context(another)
        name = workflow if isinstance(workflow, str) else workflow.name
        asked = {"cron": cron, "workflow": name, "inputs": dict(inputs or {}), "timezone": timezone, **more}
        made, _ = await self._schedules.create(DEVELOPER, asked)
        return TestSchedule(self._schedules, made.id)

    async def journal(self, run_id: str) -> list[Event]:
        """Return a run's whole journal."""
        return self.store.events.of(run_id)


@asynccontextmanager
async def engine(
    *,
    start: datetime | None = None,
    registry: Registry | None = None,
    tables: sa.MetaData | None = None,
    **options: Any,
) -> AsyncIterator[TestEngine]:
    """Run an engine in memory whose time skips; works on any ``asyncio`` loop but uvloop's.

    Args:
        start: what time it is at first; now by default.
        registry: the workflows it knows; those of the process by default.
        tables: tables for transactional steps.
        options: of ``Engine``.

    Raises:
        RuntimeError: the event loop does not let its time be taken over.
    """
    with skipping(asyncio.get_running_loop()) as skipper:
        first = SystemClock().now() if start is None else from_datetime(start)
        clock = SkippingClock(skipper, first)
        store = MemoryStore(clock)
        if tables is not None:
            store.create_tables(tables)
        made = TestEngine(store, clock, registry, options)
        skipper.sleepers.append(made)
        try:
            async with made, made._beside:
                yield made
        finally:
            skipper.sleepers.remove(made)
            store.close()


def run(
    workflow: Definition,
    *args: Any,
    signals: Sequence[tuple[str, object]] = (),
    drive: Callable[[TestEngine, str], Awaitable[None]] | None = None,
    start: datetime | None = None,
    registry: Registry | None = None,
    tables: sa.MetaData | None = None,
    **kwargs: Any,
) -> Any:
    """Run a workflow to its end, from a test that is not async, and return its output; thirty days take no time.

    Args:
        workflow: the workflow.
        args: its input.
        signals: names and payloads that are sent at the beginning.
        drive: speaks to the run meanwhile: gets the engine and the run's id.
        start: what time it is at first; now by default.
        registry: the workflows beside it.
        tables: tables for transactional steps.
        kwargs: input by name.

    Raises:
        RunFailed, RunCancelled: it ended so.
        NeverEnds: it waits for something that never comes.
    """

    async def whole() -> Any:
        async with engine(start=start, registry=registry, tables=tables) as made:
            handle = await made.start_run(workflow, *args, **kwargs)
            for name, payload in signals:
                await made.signal(handle.run_id, name, payload)
            if drive is not None:
                await drive(made, handle.run_id)
            return await handle.result()

    return asyncio.run(whole())
