"""Housekeeping: doing something again and again beside everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Calm:
    """Seconds until the next look: ``shortest`` after one that found something, then twice as long each time.

    So that processes that have nothing to do, however many, cost their database next to nothing.
    """

    def __init__(self, shortest: float, longest: float) -> None:
        self.seconds = shortest
        self._shortest = shortest
        self._longest = longest

    def looked(self, found: bool) -> None:
        """Hear what a look found."""
        self.seconds = self._shortest if found else min(self.seconds * 2, self._longest)


class Rounds:
    """Does something after each pause, from ``start`` to ``stop``. What fails is tried again the next time.

    Args:
        name: of the task.
        work: one round.
        pause: seconds before each round.
        failed: hears of the first failure, and of none after it until a round has succeeded.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[object]],
        pause: Callable[[], float],
        failed: Callable[[Exception], None],
    ) -> None:
        self.failing = False
        self._name = name
        self._work = work
        self._pause = pause
        self._failed = failed
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._go_round(), name=self._name)

    async def stop(self) -> None:
        """Stop, in the middle of a round too; without a start there is nothing to do."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _go_round(self) -> None:
        while True:
            await asyncio.sleep(self._pause())
            try:
                await self._work()
                self.failing = False
            except Exception as error:  # noqa: BLE001  the next round tries again, and operators hear of it
                if not self.failing:
                    self._failed(error)
                self.failing = True
