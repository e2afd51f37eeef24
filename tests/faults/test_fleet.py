"""Four workers on hosts of their own, on one PostgreSQL, and what befalls hosts and cables."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.faults.fleet import LEASE_SECONDS, fleet
from tests.faults.verdict import create_effects, judge, looking, wait_for_rest
from tests.support.cable import Cable, Way, cable_to
from tests.support.waiting import wait_until_async
from windlass import Engine, step, workflow
from windlass.bootstrap import run_application
from windlass.engine.control import CLAIM
from windlass.engine.types import Poll
from windlass.engine.worker import Worker
from windlass.settings import load as settings
from windlass.storage.committer import Committer
from windlass.storage.queries import SqlReader

PARCELS = 360
LATER = 40
IDLE = 20
ERRANDS = 20
LOST = 200
FULLEST = sa.text("SELECT holder, count(*) FROM workflow_runs WHERE holder <> '' GROUP BY 1 ORDER BY 2 DESC LIMIT 1")
EXPIRE = sa.text(
    "UPDATE workflow_leases SET expires_at = now() - interval '1 s' WHERE holder = :holder AND state = 'live'"
)
WINDOW = sa.text("""WITH begun AS MATERIALIZED (SELECT clock_timestamp() AS at, pg_sleep(2)::text AS slept)
 SELECT extract(epoch FROM clock_timestamp() - at) FROM begun WHERE slept = ''""")


@step
async def glance(number: int) -> int:
    """Do next to nothing."""
    return number


entered: Counter[int] = Counter()
leave = asyncio.Event()


@step
async def linger(number: int) -> int:
    """Be there until all may leave."""
    entered[number] += 1
    await leave.wait()
    return number


@workflow(name="fleet.stay")
async def stay(number: int) -> int:
    """One long step."""
    return await linger(number)


@workflow(name="fleet.errand")
async def errand(number: int) -> int:
    """One step."""
    return await glance(number)


def test_a_fleet_loses_and_doubles_nothing_whatever_befalls_its_hosts(migrated_pg_dsn: str, tmp_path: Path) -> None:
    create_effects(migrated_pg_dsn)
    with fleet(migrated_pg_dsn, tmp_path) as world:
        cut, mute, deaf, frozen = hosts = [
            world.join("cut"),
            world.join("mute", "--ahead", "300"),
            world.join("deaf", "--ahead", "-300"),
            world.join("frozen"),
        ]
        client = world.client("client", PARCELS)
        cut.lose(cut.cable.cut)
        cut.cable.mend()
        mute.lose(lambda: mute.cable.cut(Way.TO_SERVER))
        mute.cable.mend()
        deaf.lose(lambda: deaf.cable.cut(Way.FROM_SERVER))
        deaf.cable.mend()
        frozen.lose(frozen.freeze)
        frozen.thaw()
        for host in hosts:
            host.wait_back()
        cut.lose(cut.member.kill)

        newer = [world.join(f"newer{number}", "--release", "2") for number in range(2)]
        later = world.client("later", LATER, "--release", "2")
        later.wait_for("ack", LATER // 4)
        for host in hosts[1:]:
            host.member.end()
        client.wait_for("done")
        later.wait_for("done")
        wait_for_rest(migrated_pg_dsn)

        acknowledged = world.processes.acknowledged
        assert len(set(acknowledged)) == PARCELS + LATER
        judge(migrated_pg_dsn, acknowledged)
        assert world.witness.versions() == Counter({"1": PARCELS, "2": LATER})
        assert world.witness.intruders() == []
        assert 0 < world.witness.slowest_takeover() < 2 * LEASE_SECONDS
        alone = [host.member.said("host")[0] for host in [*hosts, *newer]]
        assert len({said["network"] for said in alone}) == (6 if all(said["alone"] for said in alone) else 1)


@asynccontextmanager
async def idle_fleet(url: str) -> AsyncIterator[tuple[list[Engine], Engine, Cable]]:
    """Give engines with the settings of production that know of each other, one that only starts runs, their cable."""
    async with AsyncExitStack() as stack:
        cable = stack.enter_context(cable_to(url))
        given = settings(database_url=cable.url(url), auto_migrate=False)
        kinds = [True] * IDLE + [False]
        entered = [await stack.enter_async_context(run_application(given, worker=kind)) for kind in kinds]
        *engines, client = [one.engine for one in entered]
        await wait_until_async(lambda: all(one.worker.pace.fleet == IDLE for one in engines), what="one fleet")
        yield engines, client, cable


def counted_in_turn(patch: pytest.MonkeyPatch) -> Counter[str]:
    """Count claims and looks that see something ready, and let no look begin before what the last one led to is over.

    How far turns overlap is the machine's doing. Where they do not, what they cost is the same however slow it is.
    """
    seen: Counter[str] = Counter()
    pending: Counter[str] = Counter()
    turn = asyncio.Lock()
    submit, poll, look = Committer.submit, SqlReader.poll, Worker._look

    def counted(self: Committer, op: Any, unit: Any, **options: Any) -> Any:
        answer = submit(self, op, unit, **options)
        if op is CLAIM:
            seen["claims"] += 1
            pending[unit.holder] += 1
            answer.add_done_callback(lambda _: pending.subtract([unit.holder]))
        return answer

    def polled(self: SqlReader, *given: Any) -> Poll:
        answer = poll(self, *given)
        seen["ready"] += answer.ready
        return answer

    async def looked(self: Worker) -> None:
        async with turn:
            await look(self)
            if self.claims:
                await wait_until_async(lambda: self.stopping or not (self._bell.is_set() or pending[self.holder]))

    patch.setattr(Committer, "submit", counted)
    patch.setattr(SqlReader, "poll", polled)
    patch.setattr(Worker, "_look", looked)
    return seen


async def test_a_fleet_of_twenty_costs_little_while_idle_and_sends_one_for_a_run(
    migrated_pg_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with idle_fleet(migrated_pg_dsn) as (engines, client, cable):
        with looking(migrated_pg_dsn) as database, database.connect() as connection:

            def asked() -> float:
                """Return statements a second, over some seconds of the server's clock."""
                before = cable.statements
                took = connection.execute(WINDOW).scalar_one()
                return (cable.statements - before) / float(took)

            await wait_until_async(lambda: asyncio.to_thread(lambda: 0 < asked() < IDLE), 30, "less than that a second")
        with monkeypatch.context() as patch:
            seen = counted_in_turn(patch)
            for number in range(ERRANDS):
                assert await (await client.start_run(errand, number)).result(timeout=30) == number
            assert seen["claims"] == seen["ready"] == ERRANDS

            lost = [await engines[0].start_run(stay, number) for number in range(LOST)]
            await wait_until_async(lambda: entered.total() == LOST, what="every run to be inside its step")
            seen.clear()
            with looking(migrated_pg_dsn) as database:

                def expire() -> bool:
                    """End the lease, until its holder cannot renew it any more."""
                    with database.begin() as connection:
                        return connection.execute(EXPIRE, {"holder": holder}).rowcount == 0

                with database.connect() as connection:
                    holder, held = connection.execute(FULLEST).one()
                await wait_until_async(expire, what="the end of its lease")
            await wait_until_async(lambda: entered.total() == LOST + held, what="its runs inside their steps again")
            assert seen["claims"] < IDLE
        leave.set()
        for handle in lost:
            await handle.result(timeout=30)
        assert max(entered.values()) == 2
