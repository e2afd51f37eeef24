"""Processes with schedules on one database and one movable clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa

from tests.engine.lab import Lab
from tests.support.waiting import wait_until_async
from windlass import Engine, signal, workflow
from windlass.contexts.schedules.api import Options, PythonTarget, Schedules, Target, Targets
from windlass.contexts.schedules.tables import workflow_schedule_fires
from windlass.engine.registry import Registry
from windlass.kernel.actors import Actor
from windlass.kernel.clock import SECOND, from_iso, to_iso
from windlass.storage.schema import workflow_runs

ANN = Actor("ann", "ann")
BEN = Actor("ben", "ben")
CHIEF = Actor("chief", "chief", role="admin")
STRANGER = Actor("ann", "ann", tenant_id="elsewhere", role="admin")
HOURLY = "0 * * * *"


def offered() -> Registry:
    """The workflows that users may name."""
    registry = Registry()

    @workflow(name="greet", registry=registry)
    async def greet(name: str = "you") -> str:
        return f"hello {name}"

    @workflow(name="linger", registry=registry)
    async def linger() -> str:
        return str(await signal("go"))

    del greet, linger
    return registry


@dataclass
class Stage:
    """One database, any number of processes that fire."""

    lab: Lab
    known: Registry = field(default_factory=offered)

    async def process(self, *, enabled: bool = True, saved: Target | None = None, **settings: Any) -> Schedules:
        """Start a process and return its schedules."""
        registry = Registry()
        for name in self.known:
            registry.add(self.known.get(name))
        engine = await self.lab.engine(registry=registry, **settings)
        return Schedules(engine, Targets(PythonTarget(engine, self.known), saved), Options(enabled=enabled))

    @property
    def now(self) -> int:
        """Microseconds."""
        return self.lab.clock.now()

    def set_clock(self, text: str) -> None:
        """Let it be a moment that lies ahead."""
        self.lab.pass_time(microseconds=from_iso(text) - self.now)

    def pass_time(self, **span: float) -> None:
        """Let time pass."""
        self.lab.pass_time(**span)

    async def settled(self, schedules: Schedules, schedule_id: str) -> dict[str, Any]:
        """Wait until all that has come is dealt with, and return the schedule."""

        async def look() -> dict[str, Any] | None:
            found = await schedules.get(CHIEF, schedule_id)
            waits = found["next_run_at"] is None or from_iso(found["next_run_at"]) > self.now
            return found if waits else None

        found = await wait_until_async(look, timeout=30, what="a schedule that has caught up")
        assert found is not None
        return dict(found)

    async def come(self, schedules: Schedules, schedule_id: str, late: float = 0.1) -> dict[str, Any]:
        """Let the next slot come, and return the schedule when it has been dealt with."""
        found = await schedules.get(CHIEF, schedule_id)
        self.pass_time(microseconds=from_iso(found["next_run_at"]) - self.now + int(late * SECOND))
        return await self.settled(schedules, schedule_id)

    async def fires(self, schedules: Schedules, schedule_id: str) -> list[dict[str, Any]]:
        """Return the history, oldest first."""
        found, _ = await schedules.fires(CHIEF, schedule_id, 200, None)
        return found[::-1]

    async def told(self, schedules: Schedules, schedule_id: str) -> list[tuple[str, str]]:
        """Return kind and status of the history, oldest first."""
        return [(fire["kind"], fire["status"]) for fire in await self.fires(schedules, schedule_id)]


def engine_of(schedules: Schedules) -> Engine:
    """The engine of a process."""
    return schedules._engine


async def open_ticks(schedules: Schedules) -> list[str]:
    """Return the runs that wait for a slot."""
    c = workflow_runs.c
    query = sa.select(c.run_id).where(c.name == "schedules.tick", c.status.in_(["queued", "running"]))
    found = await engine_of(schedules).read(lambda connection: connection.scalars(query).all())
    return sorted(found)


async def one_tick_is_open(schedules: Schedules) -> None:
    """Return once one run waits for a slot: the one that dealt with the slot before ends when its step has."""

    async def one() -> bool:
        return len(await open_ticks(schedules)) == 1

    await wait_until_async(one, what="one open tick")


async def fire_count(schedules: Schedules) -> int:
    """Return how many fires are kept, of whatever schedule."""
    query = sa.select(sa.func.count()).select_from(workflow_schedule_fires)
    return int(await engine_of(schedules).read(lambda connection: connection.scalar(query)))


def hourly(**given: Any) -> dict[str, Any]:
    """A schedule that greets every hour."""
    return {"workflow": "greet", "cron": HOURLY, **given}


def plain(value: object) -> Any:
    """Return a value as JSON has it."""
    return orjson.loads(orjson.dumps(value))


def moment(us: int) -> str:
    """Return microseconds as text to the second."""
    return datetime.fromisoformat(to_iso(us)).strftime("%Y-%m-%dT%H:%M:%SZ")
