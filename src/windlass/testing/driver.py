"""How a test speaks to a run whose processes die: whatever it says is said again until somebody has heard it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from windlass.engine.engine import Engine
from windlass.engine.errors import RunConflict, WriteFailed
from windlass.kernel.errors import Unavailable
from windlass.kernel.items import StreamItem
from windlass.testing.simulation.faults import Away, Refused
from windlass.testing.simulation.process import Process, ProcessGone
from windlass.testing.simulation.world import World

T = TypeVar("T")

TROUBLE = (ProcessGone, WriteFailed, Unavailable, OSError, Away, Refused)


class Driver:
    """Speaks to one run, across crashes. Waiting is virtual: an hour takes no time."""

    def __init__(self, world: World, run_id: str) -> None:
        self._world = world
        self._said = 0
        self.run_id = run_id

    async def _do(self, work: Callable[[Engine], Awaitable[T]]) -> T:
        while True:
            await self._world.somebody()
            process: Process = self._world.up[0]
            try:
                return await self._world.call(process, work)
            except TROUBLE:
                await asyncio.sleep(0.05)

    async def start(self, workflow: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Start the run, once."""

        async def begin(engine: Engine) -> None:
            try:
                await engine.start_run(workflow, *args, run_id=self.run_id, **kwargs)
            except RunConflict:  # an answer was lost: it is there
                return

        await self._do(begin)

    async def signal(self, name: str, payload: object = None) -> None:
        """Send a signal, once; one that comes after the run's end is not heard."""
        self._said += 1
        once = f"{name}-{self._said}"

        async def send(engine: Engine) -> None:
            try:
                await engine.signal(self.run_id, name, payload, dedup_id=once)
            except RunConflict:
                return

        await self._do(send)

    async def update(self, name: str, payload: object = None, *, timeout: float | None = None) -> Any:
        """Have the run take an update, once, and return its answer; see ``Handle.update``.

        Raises:
            UpdateRefused, UpdateFailed, RunConflict, NoAnswer: see ``Live.update``.
        """
        self._said += 1
        once = f"{name}-{self._said}"
        return await self._do(
            lambda engine: engine.handle(self.run_id).update(name, payload, update_id=once, timeout=timeout)
        )

    async def query(self, name: str, arg: object = None) -> Any:
        """Ask the run, and return what its handler says; see ``Handle.query``."""
        return await self._do(lambda engine: engine.handle(self.run_id).query(name, arg))

    async def items(self, stream: str, count: int, *, offset: int = 0) -> list[StreamItem]:
        """Return so many items of a stream of the run, fewer when it ends; reads on across crashes."""
        found: list[StreamItem] = []

        async def read(engine: Engine) -> None:
            async for item in engine.handle(self.run_id).read_stream(stream, offset=offset + len(found)):
                found.append(item)
                if len(found) == count:
                    return

        await self._do(read)
        return found

    async def cancel(self) -> None:
        """Cancel the run."""

        async def send(engine: Engine) -> None:
            try:
                await engine.control(self.run_id, "cancel")
            except RunConflict:
                return

        await self._do(send)

    async def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        await asyncio.sleep(seconds)
