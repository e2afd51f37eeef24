"""A rolling restart in the machine room: processes of an old release, of one that knows both versions, of a new one."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import orjson

from tests.simulation.chaos import rates
from tests.simulation.checks import Violation
from tests.simulation.scenario import BACKENDS, CALM_SECONDS, MakeStore
from tests.simulation.world import World
from windlass.engine.api import sleep
from windlass.engine.errors import RunConflict, WriteFailed
from windlass.engine.registry import Registry
from windlass.engine.step import step
from windlass.engine.types import TERMINAL
from windlass.engine.workflow import workflow
from windlass.testing.simulation.process import ProcessGone

RUNS = 14
PROCESSES = 2
ROLE: dict[str, Any] = {"worker": True, "concurrency": 5, "threads": 2}


@step(name="says", retries=20, backoff=0.1)
async def says(version: str) -> str:
    """Work for a moment, in which the process may die."""
    await asyncio.sleep(0.05)
    return version


def release(*versions: str) -> Registry:
    """What a process knows: an order and its parcel, in these versions. Each says at every step which it is."""
    registry = Registry()
    for version in versions:
        _define(registry, version)
    return registry


def _define(registry: Registry, version: str) -> None:
    @workflow(name="parcel", version=version, registry=registry)
    async def parcel() -> list[str]:
        return [await says(version), await says(version)]

    @workflow(name="order", version=version, registry=registry)
    async def order() -> list[str]:
        said = [await says(version)]
        await sleep(1.5)
        said += await parcel()
        await sleep(0.5)
        return [*said, await says(version)]


OLD, BOTH, NEW, STRANGER = release("1"), release("1", "2"), release("2"), Registry()


class Restart:
    """One history: the release that is booted changes while runs are started and processes die."""

    def __init__(self, seed: int, backend: str | MakeStore) -> None:
        make = BACKENDS[backend] if isinstance(backend, str) else backend
        self.world = World(f"release {seed}", make, OLD)
        self.dice = self.world.dice_for("releases")
        self.over = False

    def live(self) -> None:
        """Live through it.

        Raises:
            Violation: a run was lost, or went on with code of another version.
        """
        self.world.run(self._history)

    async def _history(self, world: World) -> None:
        world.faults.rates = rates(self.dice)
        keep = world.loop.create_task(self._keep_up())
        starts = [world.loop.create_task(self._start(f"r{number}", self.dice)) for number in range(RUNS)]
        for registry in (OLD, BOTH, NEW, BOTH):
            world.registry = registry
            for process in list(world.processes.values()):
                await asyncio.sleep(2 * self.dice.random())
                if self.dice.random() < 0.5 and process.up:
                    await world.stop(process, 0.0)
                elif process.name in world.processes:
                    world.kill(process.name)
            await asyncio.sleep(3 * self.dice.random())
        world.faults.heal()
        await asyncio.gather(*starts)
        await self._rest()
        self.over = True
        await keep
        self._verify()

    async def _keep_up(self) -> None:
        """Boot the release of the day where a process is missing; one that knows nothing only starts runs."""
        while not self.over:
            world = self.world
            for _ in range(PROCESSES - sum(process.works for process in world.processes.values())):
                world.boot(**ROLE)
            if all(process.works for process in world.processes.values()):
                today, world.registry = world.registry, STRANGER
                world.boot(worker=False)
                world.registry = today
            await asyncio.sleep(0.3)

    async def _start(self, run_id: str, dice: random.Random) -> None:
        await asyncio.sleep(10 * dice.random())
        while True:
            await self.world.somebody()
            try:
                await self.world.call(
                    dice.choice(self.world.up), lambda engine: engine.start_run("order", run_id=run_id)
                )
            except RunConflict:
                return  # an earlier try had come through
            except (ProcessGone, WriteFailed):
                await asyncio.sleep(0.2)
            else:
                return

    async def _rest(self) -> None:
        deadline = self.world.loop.time() + CALM_SECONDS
        while left := [head for head in self.world.store.heads().values() if head.status not in TERMINAL]:
            if self.world.loop.time() > deadline:
                raise Violation(f"these never end: {[(head.run_id, head.wait_reason, head.holder) for head in left]}")
            await asyncio.sleep(0.5)

    def _verify(self) -> None:
        if self.world.checks.first is not None:
            raise self.world.checks.first
        heads = self.world.store.heads()
        found = {f"r{number}": self.world.store.ended(f"r{number}")[0] for number in range(RUNS)}
        for run_id, outputs in found.items():
            said = orjson.loads(outputs or "null")
            if heads[run_id].status != "succeeded" or said not in (["1"] * 4, ["2"] * 4):
                raise Violation(f"{run_id} {heads[run_id].status}: {said}")
        self.versions = {orjson.loads(outputs or "")[0] for outputs in found.values()}
