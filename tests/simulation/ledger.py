"""What steps did in the world, as the world remembers it: no crash and no rollback takes it back."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

from windlass.engine.engine import Engine
from windlass.kernel.stepping import step_info
from windlass.testing.simulation.loop import PROCESS

if TYPE_CHECKING:
    from tests.simulation.world import World


class Execution(NamedTuple):
    """One attempt of a step that began."""

    run_id: str
    path: str
    attempt: int
    key: str
    process: str
    token: str


class Ledger:
    """Kept by the world, written by steps."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dice = world.dice_for("steps")
        self.executions: list[Execution] = []
        self.attempts: Counter[tuple[str, str]] = Counter()
        self.broken: set[str] = set()
        self.told: Counter[str] = Counter()
        self.slow = 0.05
        self.clumsy = 0.1

    def execute(self, label: str) -> str:
        """Write down that a step runs here and now; returns a token that no other execution has."""
        info = step_info()
        token = f"{label}@{len(self.executions)}"
        execution = Execution(info.run_id, info.path, info.attempt, info.idempotency_key, PROCESS.get(), token)
        self.executions.append(execution)
        self.attempts[info.run_id, info.path] += 1
        self._world.trace(f"{execution.process} runs {info.run_id[-6:]} {info.path} attempt {info.attempt}: {token}")
        self._world.checks.executed(execution)
        return token

    def chance(self, likely: float) -> bool:
        """Throw the dice."""
        return self._dice.random() < likely

    async def spend(self) -> None:
        """Take some time, now and then so much that the start of the step is written down."""
        roll = self._dice.random()
        if roll < self.slow:
            await asyncio.sleep(1 + 3 * self._dice.random())
        elif roll < 0.6:
            await asyncio.sleep(0.2 * self._dice.random() ** 2)

    def engine(self) -> Engine:
        """Return the engine of the process that runs this step."""
        return self._world.processes[PROCESS.get()].engine


LEDGER: ContextVar[Ledger] = ContextVar("ledger")
