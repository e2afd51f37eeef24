"""Slots over a limit: one that passes soon is waited for, one that does not has its name in the history."""

from __future__ import annotations

from typing import Any

from tests.contexts.schedules.stage import ANN, CHIEF, Stage, engine_of
from tests.support.waiting import wait_until_async
from windlass import Engine
from windlass.contexts.limits.api import Limit, Limits
from windlass.contexts.limits.api import Options as LimitOptions
from windlass.contexts.schedules.api import Options, PythonTarget, Schedules, Targets
from windlass.contexts.workflows.api import RunRules, Workflows
from windlass.contexts.workflows.runs.vault import Vault
from windlass.contexts.workflows.steptypes.base import Tools
from windlass.contexts.workflows.steptypes.registry import StepTypes
from windlass.engine.registry import Registry
from windlass.engine.types import Event, RunFilter

DOCUMENT = {"name": "limited", "steps": [{"id": "a", "type": "log", "config": {"message": "a"}}]}


async def process(stage: Stage) -> tuple[Schedules, Limits, int]:
    """Start a process that counts the runs of its schedules."""
    engine = await stage.lab.engine(registry=Registry())
    options = LimitOptions(dict.fromkeys(Limit, 1000))
    limits = Limits(engine, options, lambda *_: None)
    workflows = Workflows(engine, StepTypes(), Tools(), Vault(engine, None, 3600), RunRules(), starting=limits)
    saved = await workflows.definitions.create(ANN, DOCUMENT)
    targets = Targets(PythonTarget(engine, stage.known), workflows.scheduled)
    return Schedules(engine, targets, Options(enabled=True)), limits, saved.id


async def test_a_slot_over_a_burst_waits_and_one_over_the_day_is_told(stage: Stage) -> None:
    schedules, limits, number = await process(stage)
    made, _ = await schedules.create(ANN, {"workflow_id": number, "cron": "0 * * * *", "misfire_grace_sec": 3600})

    await limits.change(CHIEF, "burst", 0, "ann")
    await stage.come(schedules, made.id)
    waiting = await stage.fires(schedules, made.id)
    await limits.clear(CHIEF, "burst", "ann")

    async def through() -> Any:
        stage.pass_time(seconds=5)
        [fire] = await stage.fires(schedules, made.id)
        return fire["status"] == "queued" and fire

    started = await wait_until_async(through, timeout=30)
    engine = engine_of(schedules)
    await engine.result(started["run_id"])
    await limits.change(CHIEF, "daily", 1, "ann")
    await stage.come(schedules, made.id)
    *_, told = await stage.fires(schedules, made.id)

    await limits.clear(CHIEF, "daily", "ann")
    await limits.change(CHIEF, "burst", 0, "ann")
    window = {"start": told["slot"], "end": told["slot"], "per_minute": 600}
    run_id, slots = await schedules.backfill(ANN, made.id, window)

    async def busy() -> bool:
        return any(event.type == "timer_started" for event in await part(engine, run_id))

    await wait_until_async(busy, timeout=30)
    await limits.clear(CHIEF, "burst", "ann")

    async def filled() -> bool:
        stage.pass_time(seconds=1)
        return (await engine.get_run(run_id)).status == "succeeded"

    await wait_until_async(filled, timeout=30)
    assert (slots, (await engine.get_run(run_id)).outputs) == (1, {"queued": 1})
    assert [(fire["status"], fire["reason"]) for fire in waiting] == [("pending", "waits: Burst quota exceeded")]
    assert started["run_id"] == waiting[0]["run_id"]
    assert (told["status"], told["run_id"], told["reason"]) == ("skipped_quota", None, "Daily quota exceeded")
    used = {one["limit"]: one["used"] for one in await limits.standing(CHIEF, "ann")}
    assert used["daily"] == 2


async def part(engine: Engine, run_id: str) -> list[Event]:
    """Return the events of what a backfill has its slots started by."""
    children = await engine.list_runs(RunFilter(parent_run_id=run_id))
    return [event for child in children for event in await engine.events(child.run_id)]
