"""A clock that jumps: no lease is lost by it, none is kept by it, and work goes on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.faults import load
from tests.faults.crew import Crew
from tests.faults.verdict import judge, looking
from tests.support.waiting import wait_until, wait_until_async
from windlass import Engine
from windlass.bootstrap import run_application
from windlass.kernel.clock import SECOND, SystemClock
from windlass.kernel.telemetry import Silent
from windlass.settings import load as settings

HOUR = 3600
LEASE_SECONDS = 3.0


class JumpingClock(SystemClock):
    """The machine's clock, which somebody sets."""

    offset = 0

    def now(self) -> int:
        return super().now() + self.offset


@dataclass
class Heard(Silent):
    """Telemetry that is remembered."""

    events: list[str] = field(default_factory=list)

    def event(self, name: str, **fields: object) -> None:
        self.events.append(name)


@asynccontextmanager
async def engine_with(url: str, clock: JumpingClock, heard: Heard) -> AsyncIterator[Engine]:
    """Give an engine whose time can be set."""
    given = settings(database_url=url, auto_migrate=False, lease_seconds=LEASE_SECONDS)
    async with run_application(given, worker=True, telemetry=heard) as application:
        application.engine.clock = application.engine.worker.clock = clock
        yield application.engine


def renewals(url: str) -> list[str]:
    """Return when leases run out, as the database says."""
    with looking(url) as engine, engine.connect() as connection:
        return [str(row[0]) for row in connection.execute(sa.text("SELECT expires_at FROM workflow_leases"))]


def knocks(folder: Path) -> int:
    """Return how often a run came to its step."""
    return len(list(folder.glob("knock-*")))


async def several_renewals(url: str) -> None:
    """Wait until leases have been renewed a few times, where they are."""
    if url.startswith("postgresql"):
        for _ in range(3):
            before = renewals(url)
            await wait_until_async(lambda before=before: renewals(url) != before, what="a renewal")  # type: ignore[misc]


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forwards", "backwards"])
async def test_a_clock_that_jumps_costs_no_lease(url: str, jump: int, tmp_path: Path) -> None:
    clock, heard = JumpingClock(), Heard()
    async with engine_with(url, clock, heard) as engine:
        runs = [await engine.start_run(load.caller, str(tmp_path), number) for number in range(5)]
        await wait_until_async(lambda: knocks(tmp_path) == 5)
        clock.offset += jump * SECOND
        await several_renewals(url)
        later = [await engine.start_run(load.order, number) for number in range(20)]
        for handle in later:
            await handle.result(timeout=30)
        (tmp_path / "door").touch()
        for handle in runs:
            await handle.result(timeout=30)

        assert knocks(tmp_path) == 5
        assert not {"lease.lost", "lease.taken_over"} & set(heard.events)
        judge(url, [handle.run_id for handle in [*runs, *later]])


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forwards", "backwards"])
async def test_a_clock_that_jumps_keeps_no_dead_lease(url: str, processes: Crew, jump: int, tmp_path: Path) -> None:
    clock, heard = JumpingClock(), Heard()
    rooms = tmp_path / "rooms"
    rooms.mkdir()
    doomed = processes.join("doomed", "--call", str(rooms), "--lease-seconds", str(LEASE_SECONDS))
    doomed.wait_for("ack", 8)
    wait_until(lambda: knocks(rooms) == 8, what="every run to be inside its step")
    async with engine_with(url, clock, heard) as engine:
        clock.offset += jump * SECOND
        doomed.kill()
        await wait_until_async(lambda: "lease.taken_over" in heard.events, what="the dead process's runs")
        (rooms / "door").touch()
        for run_id in doomed.acknowledged:
            await engine.handle(run_id).result(timeout=30)

        assert "lease.lost" not in heard.events
        judge(url, doomed.acknowledged)
