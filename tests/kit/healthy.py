"""Workflows of every kind with nothing wrong with them."""

from __future__ import annotations

import logging
import time
from typing import Any

import sqlalchemy as sa

from windlass import (
    RunFailed,
    SignalTimeout,
    gather,
    map,  # noqa: A004
    now,
    patched,
    random,
    signal,
    sleep,
    step,
    step_info,
    uuid,
    workflow,
)
from windlass.testing import Driver

DONE: list[str] = []
NOTES = sa.Table("kit_notes", sa.MetaData(), sa.Column("text", sa.Text, nullable=False))


@step
async def kit_do(text: str) -> str:
    DONE.append(text)
    return text


@step
def kit_do_in_thread(text: str) -> str:
    DONE.append(text)
    return text


@step(transactional=True)
def kit_note(tx: Any, text: str) -> str:
    tx.execute("INSERT INTO kit_notes (text) VALUES (:text)", {"text": text})
    return text


async def _undo(result: str) -> None:
    DONE.append(f"not {result}")


@step(compensate=_undo)
async def kit_book(text: str) -> str:
    DONE.append(text)
    return text


@step(retries=3, backoff=600)
async def kit_flaky() -> str:
    if step_info().attempt < 3:
        raise OSError("not yet")
    DONE.append("at last")
    return "at last"


@step
def kit_refuse() -> None:
    raise ValueError("no")


@workflow(name="healthy_steps")
async def steps(count: int) -> list[str]:
    logging.getLogger("kit").debug("begins")
    return [await kit_do(f"{place}") for place in range(count)] + [await kit_do_in_thread("thread")]


@step(executor="processes", timeout=60)
def kit_do_elsewhere(text: str) -> str:
    DONE.append(text)
    time.sleep(0.01)
    return text


@workflow(name="healthy_branches")
async def branches() -> list[Any]:
    await kit_do_elsewhere("heavy")
    both = await gather(kit_do("left"), kit_do_in_thread("right"))
    return [*both, *await map(kit_do, ["x", "y", "z"], limit=2)]


@workflow(name="healthy_timers")
async def timers() -> str:
    begun = now()
    await sleep(days=30)
    assert (now() - begun).days >= 30
    return await kit_flaky()


@workflow(name="healthy_signals")
async def signals() -> list[Any]:
    heard = [await signal("go"), await signal("go")]
    try:
        await signal("never", timeout=86_400)
    except SignalTimeout:
        heard.append(await kit_do("too late"))
    return heard


@workflow(name="healthy_child")
async def child(text: str) -> str:
    if text == "bad":
        await kit_refuse()
    return await kit_do(text)


@workflow(name="healthy_family")
async def family() -> list[str]:
    told = await gather(child("one"), child("two"))
    try:
        await child("bad")
    except RunFailed:
        told.append("one failed")
    return told


@workflow(name="healthy_saga")
async def saga() -> None:
    await kit_book("flight")
    await kit_book("hotel")
    await kit_refuse()


@workflow(name="healthy_money")
async def money() -> str:
    await kit_note("debit")
    return await kit_note("credit")


@workflow(name="healthy_values")
async def values() -> list[Any]:
    return [str(uuid()), random(), await kit_do(str(random() < 2))]


@workflow(name="healthy_versions", version="2")
async def versions() -> list[str]:
    first = await kit_do("new way" if patched("kit-way") else "old way")
    return [first, await kit_do("then")]


@workflow(name="healthy_versions", version="1")
async def versions_before() -> str:
    return await child("old")


async def speak(run: Driver) -> None:
    await run.sleep(3600)
    await run.signal("go", {"by": "ann"})
    await run.sleep(3600)
    await run.signal("go", 2)


HEALTHY: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any], str]] = {
    "steps": (steps, (3,), {}, "succeeded"),
    "branches": (branches, (), {}, "succeeded"),
    "timers": (timers, (), {}, "succeeded"),
    "signals": (signals, (), {"drive": speak}, "succeeded"),
    "family": (family, (), {}, "succeeded"),
    "saga": (saga, (), {}, "failed"),
    "money": (money, (), {"tables": NOTES.metadata}, "succeeded"),
    "versions": (versions, (), {}, "succeeded"),
    "older version": (versions_before, (), {}, "succeeded"),
    "values": (values, (), {}, "succeeded"),
}
"""By kind: the workflow, its input, what else is said of it, and how it ends."""
