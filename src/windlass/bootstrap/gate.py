"""What a server process does when its database is moved away from under it: it drains, and says so to callers."""

from __future__ import annotations

import asyncio

from windlass.engine.engine import Engine
from windlass.storage.moving.marks import LEAVING, Mark, marked

LOOK_SECONDS = 1.0


class Gate:
    """Looks once a second whether a move has marked the database.

    Then every run is given back as its running steps end, and the lease with them; when the mark goes, because the move
    failed or was undone, the process takes up work again.

    Args:
        engine: the engine of this process.
        watches: whether there is anything to look for: only SQLite files are moved.
    """

    def __init__(self, engine: Engine, *, watches: bool) -> None:
        self.closed: Mark | None = None
        self._engine = engine
        self._watches = watches
        self._looking: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look."""
        if self._watches:
            self._looking = asyncio.create_task(self._look(), name="windlass-gate")

    async def stop(self) -> None:
        """Stop looking."""
        for task in (self._looking, self._leaving):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _look(self) -> None:
        worker = self._engine.worker
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                mark = await self._engine.read(marked)
                self.closed = mark if mark is not None and mark.state in LEAVING else None
                if self.closed is not None and self._leaving is None:
                    worker.telemetry.event("database.leaving", state=self.closed.state, other=self.closed.other)
                    self._leaving = asyncio.create_task(worker.withdraw(), name="windlass-withdraw")
                elif self.closed is None and self._leaving is not None and self._leaving.done():
                    await worker.start()
                    self._leaving = None
                    worker.telemetry.event("database.stays", holder=worker.holder)
            except Exception as error:  # noqa: BLE001  the next look tries again
                worker.telemetry.event("gate.failed", error=repr(error))
