"""One run of one shape, with something bad at one commit: the n-th of all, for every n there is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tests.simulation.chaos import Chaos
from tests.simulation.checks import Violation
from tests.simulation.scenario import BACKENDS, rest
from tests.simulation.shapes import REGISTRY, forget_pace
from tests.simulation.verdict import verify
from tests.simulation.workload import Client
from tests.simulation.world import World
from windlass.testing.simulation.faults import Fate

Life = Callable[[Client], Coroutine[Any, Any, None]]


async def _quiet(client: Client) -> None:
    """Nobody speaks to the run."""


async def _signals(client: Client) -> None:
    for name in ("go", "go", "left", "right", "last"):
        await asyncio.sleep(0.4)
        await client.signal(name)


async def _repair(client: Client) -> None:
    await client.repair()


SHAPES: dict[str, tuple[dict[str, Any], Life]] = {
    "chain": ({"steps": 4}, _quiet),
    "fan": ({"width": 3, "failing": True}, _quiet),
    "family": ({"depth": 1}, _quiet),
    "waits": ({"signals": 2, "patience": 1.0}, _signals),
    "retries": ({}, _repair),
    "money": ({"width": 2, "peer": None}, _quiet),
    "saga": ({"width": 1}, _quiet),
}


def drill(shape: str, backend: str, fate: Fate, commit: int) -> bool:
    """Live through one run whose commit number ``commit`` meets ``fate``; says whether there was such a commit.

    Raises:
        Violation: a promise was broken.
    """
    forget_pace()
    world = World(f"drill {shape}", BACKENDS[backend], REGISTRY)
    inputs, life = SHAPES[shape]

    async def history(world: World) -> None:
        roles: list[dict[str, Any]] = [{"worker": True, "concurrency": 10, "threads": 4}] * 2
        chaos = Chaos(world, world.dice_for("chaos"), roles)
        world.ledger.slow = world.ledger.clumsy = 0.0
        for role in roles:
            world.boot(**role)
        replace = world.loop.create_task(chaos.replace())
        client = Client(
            world, shape, shape, dict(inputs), {"idempotency_key": "one"}, world.dice_for("client"), patient=True
        )
        if shape == "retries":
            world.ledger.broken.update({"retries.b", "retries.d"})
        world.faults.appointed[commit] = fate
        await client.start()
        work = world.loop.create_task(life(client))
        await rest(world, [client], [work])
        chaos.over = True
        await replace
        verify(world, [client])

    try:
        world.run(history)
    except Violation as violation:
        violation.add_note(f"{shape} on {backend}: {fate} at commit {commit}")
        raise
    return commit not in world.faults.appointed
