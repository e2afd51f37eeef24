"""Workflows with the mistakes that people make, each of which works until a process dies."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
import uuid
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from windlass import signal, step, step_info, workflow

SENT: list[str] = []
STOCK = {"bolts": 3}
COUNTS = {"runs": 0}
FILE = Path(tempfile.gettempdir()) / "windlass-kit-planted"


def fresh() -> None:
    """Make the world new."""
    SENT.clear()


def reboot() -> None:
    """Lose what a process keeps in memory."""
    STOCK["bolts"] = 3


@step
async def send(text: str) -> str:
    SENT.append(text)
    return text


@step
def take(count: int) -> int:
    STOCK["bolts"] -= count
    return STOCK["bolts"]


@step
def fill(items: list[str]) -> int:
    items.append("more")
    return len(items)


@workflow(name="planted_clock")
async def clock() -> str:
    return await send("early" if time.time() < 0 else "late")


@workflow(name="planted_date")
async def date() -> str:
    return await send(datetime.now().isoformat())  # noqa: DTZ005


@workflow(name="planted_random")
async def dice() -> str:
    return await send("heads" if random.random() < 0.5 else "tails")


@workflow(name="planted_uuid")
async def own_id() -> str:
    order = str(uuid.uuid4())
    await send("begun")
    return await send(order)


@workflow(name="planted_counter")
async def counter() -> str:
    COUNTS["runs"] += 1
    number = COUNTS["runs"]
    await send("begun")
    return await send(f"order {number}")


@workflow(name="planted_environment")
async def environment() -> str:
    return await send(os.environ.get("HOME", "nowhere"))


@workflow(name="planted_mutated")
async def mutated() -> str:
    items = ["first"]
    await fill(items)
    return await send(" and ".join(items))


@workflow(name="planted_outside")
async def outside() -> str:
    await send("a")
    SENT.append("b, by the workflow itself")
    return await send("c")


@workflow(name="planted_swallowing")
async def swallowing() -> str:
    try:
        await signal("go", timeout=60)
    except BaseException:  # noqa: BLE001  the mistake
        return "gave up"
    return await send("went")


@workflow(name="planted_task")
async def task() -> str:
    return await asyncio.create_task(send("a"))


@workflow(name="planted_background")
async def background() -> str:
    other = asyncio.create_task(_note())
    await send("a")
    await other
    return "done"


async def _note() -> None:
    SENT.append("noted")


@workflow(name="planted_file")
async def file() -> str:
    FILE.write_text("x")
    return await send(FILE.read_text())


@workflow(name="planted_state")
async def state() -> str:
    if STOCK["bolts"] >= 2:
        return await send(f"{await take(2)} left")
    return await send("order more")


@workflow(name="planted_memory")
async def in_memory() -> str:
    await take(2)
    return await send("enough" if STOCK["bolts"] > 2 else "order more")


@workflow(name="planted_set")
async def in_set_order(names: list[str]) -> list[str]:
    return [await send(name) for name in set(names)]


@workflow(name="planted_forever")
async def forever() -> None:
    await signal("never")


@workflow(name="planted_stuck")
async def stuck() -> None:
    await asyncio.Event().wait()


@workflow(name="planted_unguarded")
async def once_only() -> str:
    """Nothing is wrong with the code; but its step is not idempotent, and the test's world says so."""
    return await charge_once()


@step
async def charge_once() -> str:
    key = step_info().idempotency_key
    if key in SENT:
        raise ValueError("charged twice")
    SENT.append(key)
    return "charged"


@workflow(name="planted_racing")
async def racing() -> str:
    with suppress(asyncio.TimeoutError):
        return await asyncio.wait_for(send("a"), timeout=5)
    return "late"


PLANTS: dict[str, tuple[Any, tuple[Any, ...], str]] = {
    "wall clock": (clock, (), "time.time()"),
    "date": (date, (), "datetime.now()"),
    "random": (dice, (), "random.random()"),
    "uuid": (own_id, (), "uuid.uuid4()"),
    "module-global counter": (counter, (), "order 2|another input"),
    "environment": (environment, (), "os.environ"),
    "argument changed by a step": (mutated, (), "another input"),
    "effect outside of a step": (outside, (), "outside of its steps"),
    "BaseException caught": (swallowing, (), "went on after its run had left memory"),
    "bare task": (task, (), "BareTaskError"),
    "background task": (background, (), "a task of asyncio's own"),
    "file": (file, (), "open()"),
    "state that is not recorded": (state, (), "'take#1' where the code calls 'send#1'"),
    "state in memory": (in_memory, (), "without a crash"),
    "order of a set": (in_set_order, (["b", "a"],), "goes through a set"),
    "signal that nobody sends": (forever, (), "waits for signal:never"),
    "waits for nothing": (stuck, (), "something that the engine does not know"),
    "step that cannot run twice": (once_only, (), "charged twice"),
    "wait_for": (racing, (), "BareTaskError"),
}
"""By mistake: the workflow, its input, and what the report must name."""
