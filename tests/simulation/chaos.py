"""What happens to the machine room while clients are at work."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any

from tests.simulation.world import World
from windlass.kernel.clock import SECOND
from windlass.testing.simulation.faults import BAD_FATES, Rates

JUMP_SECONDS = 90


@dataclass
class Chaos:
    """Kills, stops and confuses processes until it is told to end.

    Args:
        world: where.
        dice: decides when and whom.
        roles: options of the processes that are to be up; one that dies comes back.
    """

    world: World
    dice: random.Random
    roles: list[dict[str, Any]]
    over: bool = False

    async def reign(self, mean_pause: float) -> None:
        """Do something bad every ``mean_pause`` seconds or so."""
        while not self.over:
            await asyncio.sleep(self.dice.expovariate(1 / mean_pause))
            if not self.over:
                await self._strike()

    async def _strike(self) -> None:
        world, dice = self.world, self.dice
        processes = list(world.processes.values())
        roll = dice.random()
        busy = [process for process in processes if process.engine.worker.runs]
        if not processes:
            return
        victim = dice.choice(busy if busy and dice.random() < 0.7 else processes)
        if roll < 0.35:
            world.kill(victim.name)
        elif roll < 0.55:
            await self._freeze(victim)
        elif roll < 0.65:
            if victim.up and not victim.frozen:
                await world.stop(victim, dice.choice([0.0, 0.0, 1.0]))
        elif roll < 0.8:
            victim.clock.offset += dice.randint(-JUMP_SECONDS, JUMP_SECONDS) * SECOND
            world.trace(f"{victim.name} has its clock set to {victim.clock.offset / SECOND:+.0f} s")
        elif roll < 0.9:
            world.faults.away.add(victim.name)
            await asyncio.sleep(3 * dice.random() ** 2)
            world.faults.away.discard(victim.name)
        else:
            world.faults.full = True
            world.trace("disk full")
            await asyncio.sleep(4 * dice.random() ** 2)
            world.faults.full = False
            world.trace("disk has room")

    async def _freeze(self, victim: Any) -> None:
        if victim.frozen:
            return
        self.world.freeze(victim)
        await asyncio.sleep(self.dice.choice([2.0, 9.0, 14.0]) * self.dice.random())
        self.world.thaw(victim, late=self.dice.choice([0.0, 0.0, 0.4 * self.dice.random()]))

    async def replace(self) -> None:
        """Boot what has died, a little later."""
        while not self.over:
            missing = list(self.roles)
            for process in self.world.processes.values():
                missing.remove(process.options)
            for role in missing:
                await asyncio.sleep(self.dice.random() ** 2)
                self.world.boot(**role)
            await asyncio.sleep(0.5)

    def calm(self) -> None:
        """Let nothing bad happen any more, and everything be up."""
        self.over = True
        self.world.faults.heal()
        self.world.loop.stalls = 0.0
        self.world.trace("calm")
        for process in list(self.world.processes.values()):
            self.world.thaw(process)
        missing = list(self.roles)
        for process in self.world.processes.values():
            missing.remove(process.options)
        for role in missing:
            self.world.boot(**role)


def rates(dice: random.Random) -> Rates:
    """Return how often statements and commits go wrong in one simulation: rarely, or not at all."""
    scale = dice.choice([0.0, 0.3, 1.0, 1.0, 3.0])
    return Rates(
        error=0.0006 * scale * dice.random(),
        crash=0.0003 * scale * dice.random(),
        away=0.0006 * scale * dice.random(),
        read=0.01 * scale * dice.random(),
        unsure=0.3 * scale * dice.random(),
        commits={fate: 0.008 * scale * dice.random() for fate in BAD_FATES},
    )
