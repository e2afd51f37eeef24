"""The work that goes on while processes and servers die: orders, each with effects that must happen once."""

from __future__ import annotations

import secrets
from pathlib import Path

import sqlalchemy as sa

from tests.support.waiting import wait_until_async
from windlass import gather, signal, sleep, step, step_info, workflow
from windlass.engine.ports import Transaction

EFFECTS = sa.Table(
    "fault_effects",
    sa.MetaData(),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("token", sa.Text, nullable=False),
)
"""A user's table; nothing in it is unique, so that doubles show."""


@step
async def prepare(number: int) -> int:
    """Do something that can be repeated."""
    return number + 1


@step(transactional=True)
def book(tx: Transaction, number: int) -> str:
    """Write a row that must be there once."""
    info = step_info()
    token = secrets.token_hex(8)
    tx.execute(
        "INSERT INTO fault_effects (run_id, path, token) VALUES (:run_id, :path, :token)",
        {"run_id": info.run_id, "path": info.path, "token": f"{token}-{number}"},
    )
    return f"{token}-{number}"


@workflow(name="part")
async def part(number: int) -> str:
    """A child with one effect."""
    await prepare(number)
    return await book(number)


@workflow(name="order")
async def order(number: int) -> list[str]:
    """Steps, branches, a child and a pause."""
    await prepare(number)
    first = await book(number)
    both = await gather(book(number), prepare(number), part(number))
    await sleep(0.05)
    return [first, both[0], both[2], await book(number)]


@step
async def knock(folder: str) -> str:
    """Say that a process is here, and wait until somebody opens the door."""
    place = Path(folder)
    knocked = place / f"knock-{secrets.token_hex(4)}"
    knocked.touch()
    await wait_until_async((place / "door").exists, timeout=60)
    return knocked.name


@workflow(name="caller")
async def caller(folder: str, number: int) -> list[str]:
    """Wait inside a step, then write."""
    before = await book(number)
    name = await knock(folder)
    return [before, name, await book(number)]


@workflow(name="listener")
async def listener(number: int) -> list[str]:
    """Wait for a signal, then write."""
    said = await signal("go")
    return [str(said), await book(number)]
