"""One seed: clients, processes and chaos, then calm, and everything must have come to its end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from tests.simulation import documents
from tests.simulation.chaos import Chaos, rates
from tests.simulation.checks import Violation, name
from tests.simulation.shapes import REGISTRY, forget_pace
from tests.simulation.sites import SimMemory, Store
from tests.simulation.sqlite_site import SimSqlite
from tests.simulation.verdict import verify
from tests.simulation.workload import Client
from tests.simulation.world import World
from windlass.engine.types import TERMINAL, Status
from windlass.storage.memory.store import MemoryStore
from windlass.testing.simulation.process import SimClock

CALM_SECONDS = 600.0
"""How long everything may take to end once nothing goes wrong any more; clocks may be off by many seconds."""

MOST_TURNS = 150_000
"""Callbacks after which something is going round in circles; a simulation takes some thousands."""

DOCUMENT = documents.RUN
SHAPES = ("chain", "fan", "family", "waits", "retries", "money", "narrow", DOCUMENT)

SAGAS = 0.4
"""How likely it is that a simulation has some runs that are undone."""

SPOKEN_TO = {"waits", DOCUMENT}
"""Those that end only when somebody speaks to them."""

MakeStore = Callable[[SimClock], Store]
"""What makes a store, given the clock of its machine."""

BACKENDS: dict[str, MakeStore] = {
    "memory": lambda clock: SimMemory(MemoryStore(clock)),
    "sqlite": lambda _clock: SimSqlite(),
}
"""The stores that need no server; for PostgreSQL see ``postgres_site.on_postgres``."""


def simulate(seed: int, backend: str | MakeStore, *, keep_trace: bool = False) -> World:
    """Live through one seed on a backend by name, or on any store.

    Raises:
        Violation: a promise was broken; its ``world`` is the simulation.
    """
    forget_pace()
    make = BACKENDS[backend] if isinstance(backend, str) else backend
    world = World(seed, make, REGISTRY, keep_trace=keep_trace)
    try:
        world.run(_history)
    except Violation as violation:
        violation.world = world
        raise
    return world


async def _history(world: World) -> None:
    dice = world.dice_for("scenario")
    roles = _roles(dice)
    chaos = Chaos(world, world.dice_for("chaos"), roles)
    world.limits = {"narrow": dice.choice([1, 2, 3])}
    if dice.random() < 0.2:
        world.limits["*"] = dice.choice([2, 4])
    world.ledger.slow = dice.choice([0.0, 0.03, 0.1])
    for role in roles:
        world.boot(**role)
    clients = [_client(world, number, dice) for number in range(dice.randint(5, 11))]
    clients += _sagas(world)
    await _set_limits(world, clients[0])
    world.faults.rates = rates(dice)
    world.loop.stalls = dice.choice([0.0, 0.005, 0.02])
    lasts = dice.choice([4.0, 8.0, 15.0])
    reign = world.loop.create_task(chaos.reign(dice.choice([0.4, 0.8, 2.0, 10.0])))
    replace = world.loop.create_task(chaos.replace())
    work = [world.loop.create_task(_life(client, clients, world.dice_for(client.label), lasts)) for client in clients]
    await asyncio.sleep(lasts)
    chaos.over = True
    await asyncio.gather(reign, replace)
    chaos.calm()
    await rest(world, clients, work)
    verify(world, clients)


def _roles(dice: random.Random) -> list[dict[str, Any]]:
    workers = [
        {"worker": True, "concurrency": dice.choice([2, 5, 50]), "threads": 4} for _ in range(dice.choice([1, 2, 2, 3]))
    ]
    return [*workers, {"worker": False}] if dice.random() < 0.3 else workers


async def _set_limits(world: World, client: Client) -> None:
    for queue, limit in world.limits.items():
        await client.limit(queue, limit)


def _client(world: World, number: int, dice: random.Random) -> Client:
    shape = dice.choice(SHAPES)
    inputs = _inputs(shape, dice)
    options: dict[str, Any] = {}
    label = f"{shape}{number}"
    if dice.random() < 0.7:
        options["idempotency_key"] = f"key-{label}"
    if dice.random() < 0.2:
        options["delay"] = 3 * dice.random()
    if dice.random() < 0.2:
        options["priority"] = dice.randint(-2, 2)
    return Client(world, shape, label, inputs, options, world.dice_for(f"client {label}"))


def _sagas(world: World) -> list[Client]:
    """Return clients with runs that are undone: by dice of their own, for they came later than the other shapes."""
    dice = world.dice_for("sagas")
    if dice.random() > SAGAS:
        return []
    labels = [f"saga{number}" for number in range(100, 100 + dice.randint(1, 3))]
    return [
        Client(world, "saga", label, {"width": dice.randint(0, 2)}, {"idempotency_key": f"key-{label}"},
               world.dice_for(f"client {label}"))
        for label in labels
    ]  # fmt: skip


def _inputs(shape: str, dice: random.Random) -> dict[str, Any]:
    match shape:
        case "chain":
            return {"steps": dice.randint(1, 9)}
        case "fan":
            return {"width": dice.randint(1, 4), "failing": dice.random() < 0.6}
        case "family" | "narrow":
            return {"depth": dice.randint(0, 2)}
        case "waits":
            return {"signals": dice.randint(0, 4), "patience": dice.choice([0.3, 2.0, 6.0])}
        case documents.RUN:
            return documents.throw(dice)
        case "money":
            return {"width": dice.randint(1, 4), "peer": None}
        case _:
            return {}


async def _life(client: Client, clients: list[Client], dice: random.Random, lasts: float) -> None:
    """Start the run, speak to it in all the ways its shape asks for, and in some that it does not."""
    await asyncio.sleep(0.8 * lasts * dice.random())
    if client.shape == "money" and (peers := [c for c in clients if c.shape == "waits" and c.run_ids]):
        client.inputs["peer"] = dice.choice(peers).run_id
    breakable = ("b", "d", "e") if client.shape == "retries" else client.inputs.get("broken", ())
    client.world.ledger.broken.update(
        f"{label}.{name}"
        for name in breakable
        if dice.random() < 0.6
        for label in ([client.label] if client.key else [f"{client.label}~{n}" for n in range(40)])
    )
    await client.start()
    speech = []
    if client.shape == "waits":
        signals = ["go"] * client.inputs["signals"] + ["left", "right", "last"]
        speech += [_later(client, dice, lambda name=name: client.signal(name)) for name in signals]
        speech += [_later(client, dice, lambda: client.signal("go", keyed=False)) for _ in range(dice.randint(0, 2))]
    speech += [_later(client, dice, client.decide) for _ in range(client.inputs.get("decisions", 0))]
    if breakable:
        speech.append(client.repair())
    roll = dice.random()
    if roll < 0.15:
        speech.append(_later(client, dice, client.cancel))
    elif roll < 0.4:
        speech.append(_pauses(client, dice))
    speech += [_later(client, dice, client.look) for _ in range(dice.randint(0, 2))]
    speech += [_later(client, dice, client.write) for _ in range(dice.randint(0, 2))]
    await asyncio.gather(*speech)


async def _later(client: Client, dice: random.Random, act: Any) -> None:
    await asyncio.sleep(8 * dice.random() ** 2)
    await act()


async def _pauses(client: Client, dice: random.Random) -> None:
    for _ in range(dice.randint(1, 3)):
        await asyncio.sleep(3 * dice.random() ** 2)
        await client.pause_and_resume()


async def rest(world: World, clients: list[Client], work: list[asyncio.Task[None]]) -> None:
    """Wait until nothing is left to do.

    Raises:
        Violation: something never ends.
    """
    deadline = world.loop.time() + CALM_SECONDS
    while True:
        heads = world.store.heads().values()
        open_runs = [head for head in heads if head.status not in TERMINAL]
        if not open_runs and all(task.done() for task in work):
            break
        if world.loop.time() > deadline or world.loop.turns > MOST_TURNS:
            told = [f"{name(head)} holder={head.holder} ready={head.ready_at}" for head in open_runs]
            raise Violation("\n".join(["these never end:", *told, *(str(t) for t in work if not t.done())]))
        known = {run_id for client in clients for run_id in client.run_ids}
        idle = all(task.done() for task in work)
        for head in open_runs:
            if head.status == Status.PAUSED and head.status_reason == "poisoned":
                await clients[0].order(head.run_id, "resume")
            elif idle and head.name in SPOKEN_TO and head.parent_run_id is None and head.run_id not in known:
                # Whoever started it hung up before it was told so; nobody will ever speak to it.
                await clients[0].order(head.run_id, "cancel")
        await asyncio.sleep(0.5)
    for task in work:
        task.result()
