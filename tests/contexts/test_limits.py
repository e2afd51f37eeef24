"""How much may be started: exact in any crowd, atomic, changed while all is running, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from tests.engine.lab import MovableClock
from windlass.bootstrap import Application, run_application
from windlass.contexts.identity.api import AuditQuery
from windlass.contexts.limits import depth, service
from windlass.contexts.limits.api import Limit, LimitExceeded, QueueFull
from windlass.contexts.limits.depth import waiting
from windlass.contexts.limits.tables import workflow_usage
from windlass.contexts.workflows.api import Order
from windlass.engine import journal
from windlass.engine.types import RunView
from windlass.kernel.actors import Actor, Forbidden
from windlass.kernel.clock import SECOND, from_iso
from windlass.kernel.errors import Invalid
from windlass.settings import Settings
from windlass.storage.migrate import engine_for
from windlass.storage.queues import change_queue
from windlass.storage.schema import workflow_runs
from windlass.storage.urls import parse

ANN = Actor("ann", "ann")
CHIEF = Actor("chief", "chief", role="admin")
FOREIGN = Actor("boss", "boss", tenant_id="elsewhere", role="admin")
OPERATOR = Actor("operator", "op", role="admin", kind="operator")
DOCUMENT = {"name": "counted", "steps": [{"id": "a", "type": "log", "config": {"message": "a"}}]}
NOON = "2030-06-01T12:00:20Z"


@asynccontextmanager
async def limited(
    database_url: str, clock: MovableClock, *, worker: bool = False, **settings: Any
) -> AsyncIterator[Application]:
    """A process that keeps limits, by a clock that several share."""
    wanted: dict[str, Any] = {"workflows_disable_quotas": False, "workflows_disable_rate_limits": False}
    made = Settings(database_url=database_url, lease_seconds=5.0, **{**wanted, **settings})
    async with run_application(made, worker=worker) as application:
        application.engine.clock = clock
        yield application


@pytest.fixture
def clock() -> MovableClock:
    """A clock that stands in the middle of a minute and of a day, but for the seconds of the test itself."""
    made = MovableClock()
    made.move(microseconds=from_iso(NOON) - made.now())
    return made


async def start(application: Application, key: str | None = None, actor: Actor = ANN) -> RunView:
    return await application.workflows.runs.start_adhoc(actor, DOCUMENT, Order(idempotency_key=key))


async def tried(application: Application, key: str | None = None) -> str | LimitExceeded:
    try:
        return (await start(application, key)).run_id
    except LimitExceeded as refused:
        return refused


async def used(application: Application, limit: Limit, user_id: str = "ann") -> int | None:
    found = await application.limits.standing(CHIEF, user_id)
    count: int | None = next(one["used"] for one in found if one["limit"] == limit)
    return count


async def count_runs(application: Application) -> int:
    query = sa.select(sa.func.count()).where(workflow_runs.c.name == "workflows.run")
    return int(await application.engine.read(lambda connection: connection.scalar(query)))


async def test_no_crowd_exceeds_a_quota_and_what_is_repeated_is_free(database_url: str, clock: MovableClock) -> None:
    async with (
        limited(database_url, clock, workflows_quota_daily_per_user=5) as one,
        limited(database_url, clock, workflows_quota_daily_per_user=5) as other,
    ):
        first = (await start(one, "first")).run_id
        crowd = await asyncio.gather(*(tried((one, other)[place % 2], f"k{place}") for place in range(16)))
        again = await asyncio.gather(*(tried(process, "first") for process in (one, other)))
        refused = [place for place, found in enumerate(crowd) if isinstance(found, LimitExceeded)]

        assert len(refused) == 12
        assert await count_runs(one) == 5
        assert await used(one, Limit.DAILY) == await used(other, Limit.DAILY) == 5
        assert again == [first, first]
        late = crowd[refused[0]]
        assert isinstance(late, LimitExceeded)
        assert (str(late), late.allowed, late.reset_at) == (
            "Daily quota exceeded", 5, from_iso("2030-06-02T00:00:00Z") // SECOND,
        )  # fmt: skip

        # Changed while both run: the key of a start that was refused is free, and another user has a quota of its own.
        await other.limits.change(CHIEF, "daily", 6, "ann")
        assert (await start(one, f"k{refused[0]}")).run_id
        assert isinstance(await tried(one, f"k{refused[1]}"), LimitExceeded)
        assert (await start(one, actor=CHIEF)).owner == "chief"
        assert await other.limits.clear(CHIEF, "daily", "ann")
        assert not await other.limits.clear(CHIEF, "daily", "ann")

        clock.move(days=1)
        assert (await start(one)).run_id
        assert await used(one, Limit.DAILY) == 1


async def test_a_burst_costs_nothing_of_the_day_and_ends_with_its_minute(
    database_url: str, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with limited(database_url, clock, workflows_quota_burst_per_min=3) as process:
        crowd = await asyncio.gather(*(tried(process) for _ in range(5)))
        refused = [found for found in crowd if isinstance(found, LimitExceeded)]

        assert [str(found) for found in refused] == ["Burst quota exceeded"] * 2
        assert refused[0].reset_at == from_iso("2030-06-01T12:01:00Z") // SECOND
        assert 1 <= refused[0].retry_after <= 40
        assert await used(process, Limit.DAILY) == await used(process, Limit.BURST) == 3

        # A crash between counting and inserting leaves neither.
        clock.move(minutes=1)

        def fail(*_: object) -> None:
            raise OSError("the disk is gone")

        with monkeypatch.context() as patch:
            patch.setattr(journal, "insert", fail)
            with pytest.raises(OSError, match="gone"):
                await start(process, "once")
        assert (await used(process, Limit.DAILY), await used(process, Limit.BURST)) == (3, 0)
        assert (await start(process, "once")).run_id
        assert (await used(process, Limit.DAILY), await used(process, Limit.BURST)) == (4, 1)

        # Windows that are over go, in batches; today's day stays.
        clock.move(hours=2)
        monkeypatch.setattr(service, "TIDY_ROWS", 1)
        assert await process.limits.tidy() == 2
        kept = await process.engine.read(lambda connection: connection.scalars(sa.select(workflow_usage.c.limit_name)))
        assert list(kept) == ["daily"]


async def test_a_limit_is_the_users_the_tenants_or_everybodys(database_url: str, clock: MovableClock) -> None:
    async with limited(database_url, clock) as process:
        limits = process.limits

        async def in_force(actor: Actor = CHIEF, user_id: str = "ann") -> tuple[Any, str]:
            [daily] = [one for one in await limits.standing(actor, user_id) if one["limit"] == "daily"]
            return daily["value"], daily["source"]

        assert await in_force() == (1000, "settings")
        await limits.change(OPERATOR, "daily", 9, tenant_id="*")
        assert await in_force() == await in_force(FOREIGN, "zoe") == (9, "all")
        await limits.change(CHIEF, "daily", None)
        assert (await in_force(), await in_force(FOREIGN, "zoe")) == ((None, "tenant"), (9, "all"))
        assert (await start(process)).run_id
        await limits.change(CHIEF, "daily", 1, "ann", tenant_id="elsewhere")  # their own: it is no operator
        assert (await in_force(), await in_force(user_id="ben")) == ((1, "user"), (None, "tenant"))
        assert isinstance(await tried(process), LimitExceeded)

        assert [(one["tenant_id"], one["user_id"], one["value"]) for one in await limits.overrides(CHIEF)] == [
            ("*", "*", 9), ("default", "*", None), ("default", "ann", 1),
        ]  # fmt: skip
        assert [one["tenant_id"] for one in await limits.overrides(FOREIGN)] == ["*"]
        told = await process.identity.entries(AuditQuery(action="limit.set", target="limit:default/ann/daily"))
        assert [(entry["actor"]["id"], entry["before"], entry["after"]) for entry in told] == [
            ("chief", None, {"value": 1})
        ]
        assert await in_force(ANN) == (1, "user")
        for asked in (limits.overrides(ANN), limits.standing(ANN, "ben"), limits.change(ANN, "daily", 2)):
            with pytest.raises(Forbidden):
                await asked
        for wrong in (
            ("hourly", 1, None),
            ("daily", -1, None),
            ("queue_depth", 1, "ann"),
            ("queue_depth_all", 1, None),
        ):
            with pytest.raises(Invalid):
                await limits.change(CHIEF, *wrong)


async def test_a_full_queue_takes_no_more(database_url: str, clock: MovableClock) -> None:
    depths = {"workflows_queue_depth_per_tenant": 2, "workflows_queue_depth": 3}
    async with limited(database_url, clock, worker=True, **depths) as process:
        await change_queue(process.engine, "workflows", {"paused": True})
        runs = [(await start(process, f"k{place}")).run_id for place in range(2)]

        with pytest.raises(QueueFull, match="Queue is full") as full:
            await start(process)
        assert full.value.data == {"limit": "queue_depth", "allowed": 2, "depth": 2}
        assert (await start(process, "k0")).run_id == runs[0]
        assert (await start(process, actor=FOREIGN)).tenant_id == "elsewhere"
        with pytest.raises(QueueFull) as full:
            await start(process, actor=FOREIGN)
        assert full.value.data == {"limit": "queue_depth_all", "allowed": 3, "depth": 3}
        assert await used(process, Limit.DAILY) == 2  # nothing was paid for what was refused

        await process.limits.change(OPERATOR, "queue_depth_all", None, tenant_id="*")
        await process.limits.change(CHIEF, "queue_depth", 3)
        runs.append((await start(process)).run_id)
        assert await used(process, Limit.DEPTH) == 3
        await change_queue(process.engine, "workflows", {"paused": False})
        for run_id in runs:
            await process.engine.result(run_id, timeout=30)
        assert await used(process, Limit.DEPTH) == 0


async def test_a_queue_is_counted_once_a_second_and_no_further_than_its_limit(
    database_url: str, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []

    def count(connection: sa.Connection, tenant_id: str | None, most: int) -> int:
        counts.append(waiting(connection, tenant_id, most))
        return counts[-1]

    monkeypatch.setattr(depth, "waiting", count)
    async with limited(database_url, clock) as process:
        seconds = [5.0]
        monkeypatch.setattr(process.limits._depth, "_monotonic", lambda: seconds[0])
        for _ in range(7):
            await start(process)
        seconds[0] = 6.5
        await start(process)
        few = await process.engine.read(lambda connection: waiting(connection, "default", 3))
        seconds[0] = 8.0
        await asyncio.gather(*(start(process) for _ in range(12)))
        await asyncio.gather(*(start(process, actor=FOREIGN) for _ in range(12)))

    *before, own, all_, foreign = counts
    assert (before, foreign, few) == ([0, 0, 7, 7], 0, 3)
    assert 8 <= own <= all_ <= 8 + 12  # counted once, while the others of the crowd went on


@pytest.mark.parametrize("tenant_id", ["default", None])
def test_a_queue_is_counted_from_an_index_alone(migrated_sqlite_url: str, tenant_id: str | None) -> None:
    engine = engine_for(parse(migrated_sqlite_url))
    query = depth.counted(tenant_id, 10).compile(engine, compile_kwargs={"literal_binds": True})
    with engine.connect() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
    engine.dispose()

    assert [line for line in plan if "COVERING INDEX ix_workflow_runs_waiting" in line]


async def test_requests_are_counted_by_caller_and_endpoint(database_url: str, clock: MovableClock) -> None:
    async with (
        limited(database_url, clock, workflows_rate_run_adhoc_per_min=2) as one,
        limited(database_url, clock, workflows_rate_run_adhoc_per_min=2) as other,
    ):

        async def ask(process: Application, actor: Actor = ANN, limit: Limit = Limit.ADHOC) -> bool:
            try:
                await process.limits.request(actor, limit)
            except LimitExceeded:
                return False
            return True

        crowd = await asyncio.gather(*(ask((one, other)[place % 2]) for place in range(8)))
        assert sum(crowd) == 2
        assert not await ask(one)
        assert [await ask(one, CHIEF), await ask(one, limit=Limit.SAVED)] == [True, True]
        clock.move(minutes=1)
        assert await ask(one)
        await one.limits.change(CHIEF, "run_adhoc", 1)
        assert not await ask(other)
