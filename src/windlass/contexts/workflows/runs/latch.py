"""What stands behind a join: branches that wait for another branch of their run."""

from __future__ import annotations

import asyncio

from windlass.engine.run import Run
from windlass.engine.scope import current_scope


class Latch:
    """Lets branches of one run wait for another of its branches: what stands behind a join."""

    def __init__(self) -> None:
        self._set = False
        self._waiting: list[tuple[Run, asyncio.Future[None]]] = []

    async def wait(self) -> None:
        """Return once ``set`` has been called."""
        if self._set:
            return
        run: Run = current_scope("a latch").run
        future: asyncio.Future[None] = run.loop.create_future()
        self._waiting.append((run, future))
        await run.block(future)

    def set(self) -> None:
        """Let go everybody who waits, and whoever comes later."""
        self._set = True
        for run, future in self._waiting:
            run.release(future, None)
        self._waiting.clear()
