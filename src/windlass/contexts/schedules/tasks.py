"""The durable runs of schedules: one that waits for each next slot, one that looks for places, one over a window."""

from __future__ import annotations

from typing import Any

from windlass.contexts.schedules import runs, store
from windlass.contexts.schedules.backfill import fill
from windlass.contexts.schedules.firing import Firing
from windlass.engine.api import sleep
from windlass.engine.errors import StepFailed
from windlass.engine.ports import Transaction
from windlass.engine.registry import Registry
from windlass.engine.step import step
from windlass.engine.workflow import workflow
from windlass.kernel.clock import from_iso
from windlass.kernel.stepping import step_info

FOREVER = 10**9
ROUNDS = 100
"""How many steps one part of a backfill takes, so that no journal grows for ever."""
BUSY_SEC = 5
SWEPT = 1000


def define_firing(registry: Registry, firing: Firing) -> None:
    """Define what fires; a process without it leaves that to others."""

    @step(name="fire", transactional=True, retries=5, backoff=1.0, cap=10.0)
    def fire(tx: Transaction, schedule_id: str, revision: int, slot: str) -> str:
        return firing.tick(tx, schedule_id, revision, from_iso(slot))

    @step(name="pass_over", transactional=True, retries=FOREVER)
    def pass_over(tx: Transaction, schedule_id: str, revision: int, slot: str, reason: str) -> str:
        return firing.tick(tx, schedule_id, revision, from_iso(slot), reason)

    @step(name="drain", transactional=True, retries=FOREVER)
    def drain_places(tx: Transaction, schedule_id: str, looks: int) -> int:
        return firing.drain(tx, schedule_id, looks, step_info().run_id)

    @workflow(name=runs.TICK, registry=registry)
    async def tick(schedule_id: str, revision: int, slot: str) -> str:
        """Deal with one slot of a schedule; the next one is another run, started in the same transaction."""
        try:
            return await fire(schedule_id, revision, slot)
        except StepFailed as failed:
            return await pass_over(schedule_id, revision, slot, f"could not be started: {failed.message}")

    @workflow(name=runs.DRAIN, registry=registry)
    async def drain(schedule_id: str, looks: int) -> int:
        """Start slots that wait for a place; answers how many still wait."""
        return await drain_places(schedule_id, looks)


def define_backfill(registry: Registry, firing: Firing) -> None:
    """Define backfills; every process carries them out."""

    @step(name="fill", transactional=True, retries=FOREVER)
    def fill_in(tx: Transaction, window: dict[str, Any], after: int) -> dict[str, Any]:
        return fill(tx, firing, window, after)

    @workflow(name=runs.BACKFILL_PART, registry=registry)
    async def part(window: dict[str, Any], after: int) -> dict[str, Any]:
        """Start some slots of a window; answers how far it came."""
        counts: dict[str, int] = {}
        done = False
        for _ in range(ROUNDS):
            found = await fill_in(window, after)
            after, done = found["after"], found["done"]
            if found["outcome"] is not None:
                counts[found["outcome"]] = counts.get(found["outcome"], 0) + 1
            if done:
                break
            if found["busy"]:
                await sleep(BUSY_SEC)
            elif found["outcome"] is not None:
                await sleep(60 / window["per_minute"])
        return {"after": after, "done": done, "counts": counts}

    @workflow(name=runs.BACKFILL, registry=registry)
    async def backfill(window: dict[str, Any]) -> dict[str, int]:
        """Run the slots of a past window that have had no run of their own; answers how many, by outcome."""
        counts: dict[str, int] = {}
        after = window["start"] - 1
        while True:
            found = await part(window, after)
            after = found["after"]
            for outcome, count in found["counts"].items():
                counts[outcome] = counts.get(outcome, 0) + count
            if found["done"]:
                return counts


def define_sweep(registry: Registry) -> None:
    """Define what clears up after a schedule."""

    @step(name="sweep", transactional=True, retries=FOREVER)
    def sweep_fires(tx: Transaction, schedule_id: str) -> int:
        return store.sweep(tx, schedule_id, SWEPT)

    @workflow(name=runs.SWEEP, registry=registry)
    async def sweep(schedule_id: str) -> int:
        """Delete the history of a schedule that was deleted; answers how many fires there were."""
        gone = 0
        while swept := await sweep_fires(schedule_id):
            gone += swept
        return gone
