"""A simulated machine room: processes on one store, a clock, dice, and what may go wrong. One seed, one history."""

from __future__ import annotations

import asyncio
import gc
import random
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar

from windlass.engine.engine import Engine
from windlass.engine.errors import WriteFailed
from windlass.engine.registry import Registry
from windlass.kernel.clock import SECOND
from windlass.kernel.ids import process_ids
from windlass.testing.simulation.faults import Away, Crash, Faults, Refused
from windlass.testing.simulation.loop import SimLoop
from windlass.testing.simulation.process import EPOCH, Process, ProcessGone, SimClock
from windlass.testing.simulation.sites import Store

T = TypeVar("T")


class World:
    """Everything of one simulation. ``trouble``: what a store raises when it is away.

    Args:
        seed: decides everything.
        store: makes the database, given its clock.
        registry: what the processes know.
        keep_trace: remember what happened, line by line.
        loop: the kind of its event loop.
    """

    trouble: tuple[type[Exception], ...] = (WriteFailed, OSError, Away, Refused)

    def __init__(
        self,
        seed: int | str,
        store: Callable[[SimClock], Store],
        registry: Registry,
        *,
        keep_trace: bool = False,
        loop: Callable[[random.Random], SimLoop] = SimLoop,
    ) -> None:
        self.seed = seed
        self.dice = self.dice_for("world")
        self.loop = loop(self.dice_for("loop"))
        self.clock = SimClock(self.loop)
        self.registry = registry
        self.lines: list[str] = []
        self.tracing = keep_trace
        ids = self.dice_for("ids")
        process_ids.follow(lambda: (EPOCH + self.loop.us) // 1000, ids.randbytes)
        self.store = store(self.clock)
        self.faults = Faults(self.dice_for("faults"), self.kill, self.trace)
        self.processes: dict[str, Process] = {}
        self.graveyard: list[Process] = []
        self.loop.set_exception_handler(self._complaint)
        self._booted = 0
        self._risen = asyncio.Event()

    def dice_for(self, what: str) -> random.Random:
        """Return dice of their own, so that one use does not change another."""
        return random.Random(f"{self.seed}/{what}")

    def trace(self, line: str) -> None:
        """Remember what happened."""
        if self.tracing:
            self.lines.append(f"{(self.loop.us / SECOND) - 1000:12.6f} {line}")

    def _complaint(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), Crash):
            return
        what = f"{context.get('message')}: {context.get('exception')!r} {context.get('future', '')}"
        self.complain(what, context.get("exception"))

    def complain(self, what: str, cause: BaseException | None = None) -> None:
        """Hear that something is wrong: code of a process has failed, and nobody waits for its answer."""
        self.trace(f"{what} {cause!r}")

    def committed(self, process: str) -> None:
        """Hear that a commit of a process has reached the disk."""

    def run(self, main: Callable[[Self], Awaitable[None]]) -> None:
        """Live through ``main`` and remove everything."""
        try:
            with _no_collection():
                self.loop.run_until_complete(_whole(main(self)))
        finally:
            self.tracing = False
            with warnings.catch_warnings():
                # What was killed before it began is never awaited.
                warnings.simplefilter("ignore", RuntimeWarning)
                self.loop.close()
                self.store.close()

    # processes
    def boot(self, **options: Any) -> Process:
        """Start a process; it is up a little later."""
        self._booted += 1
        process = Process(self, f"p{self._booted}", **options)
        self.processes[process.name] = process
        self.trace(f"{process.name} boots {options}")
        context = process.context.copy()
        context.run(self.loop.create_task, self._start(process))
        return process

    async def _start(self, process: Process) -> None:
        try:
            await process.engine.start()
        except self.trouble as error:
            self.trace(f"{process.name} cannot start: {error!r}")
            if process.name in self.processes:
                self.kill(process.name)
            return
        process.ready = True
        self._risen.set()
        self.trace(f"{process.name} is up as {process.engine.worker.holder[-6:]}")

    def kill(self, name: str) -> None:
        """Kill a process at this instant."""
        self.trace(f"{name} dies")
        self._bury(self.processes.pop(name))

    def _bury(self, process: Process) -> None:
        process.dead = True
        self.loop.kill(process.name)
        process.site.crash()
        self.graveyard.append(process)
        for answer in list(process.calls):
            if not answer.done():
                answer.set_exception(ProcessGone(process.name))
        process.calls.clear()

    def freeze(self, process: Process) -> None:
        """Stop a process, as SIGSTOP does."""
        self.trace(f"{process.name} freezes")
        process.frozen = process.stopped_once = True
        self.loop.frozen.add(process.name)
        process.site.freeze()

    def thaw(self, process: Process, late: float = 0.0) -> None:
        """Let it go on; whoever keeps its lease looks at it ``late`` seconds later only."""
        if process.dead or not process.frozen:
            return
        self.trace(f"{process.name} thaws")
        process.frozen = False
        self.loop.frozen.discard(process.name)
        process.context.copy().run(self.loop.call_later, late, process.site.thaw)

    async def stop(self, process: Process, grace: float) -> None:
        """Shut a process down in order."""
        self.trace(f"{process.name} stops")
        process.ready = False
        try:
            await self.call(process, lambda engine: engine.stop(grace), stopping=True)
        except ProcessGone:
            return
        for committer in (process.committer, *process.own):
            committer.close()
        if self.processes.pop(process.name, None) is not None:
            self.trace(f"{process.name} has stopped")
            self._bury(process)

    @property
    def up(self) -> list[Process]:
        """Processes that can be called."""
        return [process for process in self.processes.values() if process.up]

    async def somebody(self) -> None:
        """Wait until a process is up."""
        while not self.up:
            self._risen.clear()
            await self._risen.wait()

    async def call(
        self,
        process: Process,
        work: Callable[[Engine], Awaitable[T]],
        *,
        stopping: bool = False,
        give_up: float | None = None,
    ) -> T:
        """Call into a process and wait for its answer.

        Args:
            process: which.
            work: what to do with its engine.
            stopping: it is being stopped by this call.
            give_up: cancel the call inside the process after so many seconds, as a client that hangs up does.

        Raises:
            ProcessGone: it died meanwhile.
        """
        if process.dead or not (process.up or stopping):
            raise ProcessGone(process.name)
        answer: asyncio.Future[T] = self.loop.create_future()

        async def inside() -> T:
            return await work(process.engine)

        task = process.context.copy().run(self.loop.create_task, inside())
        process.calls[answer] = None

        def done(task: asyncio.Task[T]) -> None:
            process.calls.pop(answer, None)
            error = ProcessGone("hung up") if task.cancelled() else task.exception()
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(task.result())

        task.add_done_callback(done)
        if give_up is not None:
            process.context.copy().run(lambda: self.loop.call_later(give_up, task.cancel))
        return await answer


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the search for garbage away: it calls finalisers at moments that no seed decides."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


async def _whole(main: Awaitable[None]) -> None:
    await main
