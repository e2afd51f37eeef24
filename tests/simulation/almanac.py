"""Schedules in the machine room: processes whose clocks are set from slot to slot, through a year if need be."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tests.simulation.sqlite_site import SimSqlite
from tests.simulation.world import World
from windlass.contexts.schedules import runs, store
from windlass.contexts.schedules.firing import Firing
from windlass.contexts.schedules.model import Aim, Order, Schedule
from windlass.contexts.schedules.tasks import define_firing
from windlass.engine.errors import WriteFailed
from windlass.engine.ports import Transaction
from windlass.engine.registry import Registry
from windlass.engine.types import NewRun
from windlass.engine.workflow import workflow
from windlass.kernel.clock import SECOND, from_iso
from windlass.testing.simulation.process import EPOCH, Process, ProcessGone

ROLE: dict[str, Any] = {"worker": True, "concurrency": 10, "threads": 2}
JOB = "job"


class Jobs:
    """A target that does nothing, durably."""

    def check(self, connection: sa.Connection, aim: Aim) -> None:
        """Everything can be run."""

    def online(self, connection: sa.Connection, aim: Aim) -> bool:
        """Somebody is always there."""
        return True

    def start_in(self, tx: Transaction, order: Order) -> str:
        """Start the job."""
        runs.start(tx, NewRun(order.run_id, JOB, "{}", 0))
        return order.run_id


class Almanac:
    """A world with schedules.

    Args:
        seed: decides everything.
        quiet: leave out the checks of every commit, whose cost grows with the history.
    """

    def __init__(self, seed: int | str, *, quiet: bool = False) -> None:
        registry = Registry()

        @workflow(name=JOB, registry=registry)
        async def job() -> str:
            return "done"

        self.world = World(seed, lambda _clock: SimSqlite(), registry)
        self.dice = self.world.dice_for("almanac")
        self.firing = Firing(self.world.clock, Jobs())
        define_firing(registry, self.firing)
        if quiet:
            setattr(self.world.checks, "committed", lambda _process: None)  # noqa: B010  instead of a method
            self.world.loop.between = lambda: None
        self.over = False

    @property
    def now(self) -> int:
        """What the clocks say."""
        return self.world.clock.now()

    def set_clocks(self, moment: int) -> None:
        """Let it be a moment that lies ahead, give or take what clocks are off by."""
        self.world.clock.offset += max(moment - self.now, 0)
        for process in self.world.processes.values():
            self._set(process)

    def _set(self, process: Process) -> None:
        process.clock.offset = self.world.clock.offset + self.dice.randint(0, SECOND // 2)

    def rows(self, query: str) -> list[Any]:
        """Ask the file itself, past every fault."""
        look: sqlite3.Connection = self.world.store._look  # type: ignore[attr-defined]
        return look.execute(query).fetchall()

    def live(self, life: Callable[[Almanac], Any]) -> None:
        """Live through ``life`` with two processes, each of which comes back when it dies."""

        async def history(world: World) -> None:
            for _ in range(2):
                world.boot(**ROLE)
            replace = world.loop.create_task(self._replace())
            await life(self)
            self.over = True
            await replace
            if world.checks.first is not None:
                raise world.checks.first

        self.world.run(history)

    async def _replace(self) -> None:
        while not self.over:
            for _ in range(2 - len(self.world.processes)):
                self._set(self.world.boot(**ROLE))
            await asyncio.sleep(0.5)

    async def add(self, *schedules: tuple[str, str]) -> list[str]:
        """Make schedules of crontab lines in zones; whoever is told nothing asks again."""
        made = []
        for number, (line, zone) in enumerate(schedules):
            schedule_id = f"{number:032x}"
            made.append(schedule_id)

            def add(tx: Transaction, schedule_id: str = schedule_id, line: str = line, zone: str = zone) -> None:
                if store.get(tx.connection, schedule_id) is None:
                    schedule = _schedule(schedule_id, line, zone, self.now)
                    self.firing.arm(tx, schedule)
                    store.insert(tx, schedule)

            await self._insist(add)
        return made

    async def _insist(self, change: Callable[[Transaction], None]) -> None:
        while True:
            await self.world.somebody()
            try:
                await self.world.call(self.dice.choice(self.world.up), lambda engine: engine.transact(change))
            except (ProcessGone, WriteFailed):
                await asyncio.sleep(0.2)
            else:
                return

    def next_slot(self) -> int:
        """Return the next slot of all schedules."""
        [[first]] = self.rows("SELECT min(next_run_at) FROM workflow_schedules")
        return from_iso(first)

    async def caught_up(self) -> None:
        """Wait until every slot that has come is dealt with."""
        while self.next_slot() <= self.now:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.25)

    async def jobs_done(self) -> None:
        """Wait until every run that a slot started has ended."""
        while self.rows(f"SELECT 1 FROM workflow_runs WHERE name = '{JOB}' AND status != 'succeeded' LIMIT 1"):  # noqa: ASYNC110
            await asyncio.sleep(0.25)

    def slots(self, schedule_id: str) -> Sequence[tuple[datetime, str, int]]:
        """Return every slot of the history with its outcome and how many runs it has."""
        found = self.rows(
            "SELECT f.slot, f.status, (SELECT count(*) FROM workflow_runs r WHERE r.run_id = f.run_id)"
            f" FROM workflow_schedule_fires f WHERE schedule_id = '{schedule_id}' ORDER BY f.slot"
        )
        return [(datetime.fromisoformat(slot), status, count) for slot, status, count in found]


def _schedule(schedule_id: str, line: str, zone: str, now: int) -> Schedule:
    return Schedule(
        id=schedule_id, tenant_id="default", user_id="ann", workflow_id=None, workflow=JOB, name=None, cron=line,
        timezone=zone, inputs={}, run_mode="async", validation_mode="block", enabled=True, require_online=False,
        concurrency_mode="queue", misfire_grace_sec=3600, coalesce=True, revision=1, done_until=now, tick_run_id=None,
        drain_run_id=None, last_run_at=None, next_run_at=None, last_status=None, created_at=now, updated_at=now,
    )  # fmt: skip


BEGINS = EPOCH + 1000 * SECOND
"""What the clocks say when a world begins."""
