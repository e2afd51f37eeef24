"""Looking after the database while it is used: a durable run each so often, one for all processes together.

The run's id is made of the time it is for, so that of all processes one starts it; it is carried out, and done again
after a crash, like any other. What it does happens on a thread and a connection of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from windlass.engine.engine import Engine
from windlass.engine.errors import RunConflict
from windlass.engine.step import step
from windlass.engine.workflow import workflow
from windlass.kernel.clock import SECOND

MAINTAIN = "operating.maintain"
AGAIN_SECONDS = 60.0
"""The pause after a start that failed."""


class Upkeep:
    """Starts maintenance, where there is any.

    Args:
        engine: carries it out.
        work: does it and says what came of it, as JSON data; None where there is nothing to do.
        interval: seconds between two runs; None to start none.
    """

    def __init__(self, engine: Engine, work: Callable[[], dict[str, Any]] | None, interval: float | None) -> None:
        self._engine = engine
        self._interval = interval if work is not None else None
        self._keeping: asyncio.Task[None] | None = None

        @step(name="maintain", retries=2, backoff=5.0)
        def maintain() -> dict[str, Any]:
            return {} if work is None else work()

        @workflow(name=MAINTAIN, registry=engine.registry)
        async def run(slot: int) -> dict[str, Any]:
            """Look after the database; ``slot`` numbers the interval."""
            del slot
            return await maintain()

        self._run = run

    async def start(self) -> None:
        """Begin to do so in each interval."""
        if self._interval is not None and self._engine.worker.claims:
            self._keeping = asyncio.create_task(self._keep(self._interval), name="windlass-upkeep")

    async def stop(self) -> None:
        """Stop doing so; a run that was begun goes on elsewhere."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)

    async def begin(self, slot: int) -> bool:
        """Start the run of an interval; False when another process has."""
        try:
            return (await self._engine.start_run(self._run, slot, run_id=f"maintenance-{slot}")).created
        except RunConflict:
            return False

    async def _keep(self, interval: float) -> None:
        failing = False
        while True:
            slot, into = divmod(self._engine.clock.now() / SECOND, interval)
            pause = interval - into + self._engine.worker.random()
            try:
                await self.begin(int(slot))
                failing = False
            except Exception as error:  # noqa: BLE001  the next round tries again, and operators hear of it
                if not failing:
                    self._engine.worker.telemetry.event("maintenance.not_started", error=str(error))
                failing, pause = True, min(pause, AGAIN_SECONDS)
            await asyncio.sleep(pause)
