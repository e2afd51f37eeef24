"""A primary that is killed at work, its standby that takes its place, and everybody who goes on by himself."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from functools import partial
from itertools import count, pairwise
from pathlib import Path

import httpx2
import psycopg

from tests.faults.crew import Member, crew
from tests.faults.verdict import create_effects, judge, wait_for_rest
from tests.support.databases import migrate
from tests.support.definitions import definition
from tests.support.service import running_service
from tests.support.standby import Pair
from tests.support.waiting import wait_until_async

CALLERS = 4
ENOUGH = 20
"""How many runs each kind of client is told of before and after the primary is killed."""
REPLACED = "has been replaced as the primary"
RETRIED = frozenset({429, 503})
_log = logging.getLogger(__name__)


class Callers:
    """Clients that start runs over HTTP, each until it is acknowledged; ``told`` holds when and of which
    run, ``refused`` answers that say to try again.

    Args:
        url: the server.
    """

    def __init__(self, url: str) -> None:
        self.told: list[tuple[float, str]] = []
        self.refused: list[int] = []
        self._client = httpx2.AsyncClient(base_url=url, timeout=60)
        self._numbers = count(1)
        self._over = False
        self._tasks = [asyncio.create_task(self._call()) for _ in range(CALLERS)]

    async def _call(self) -> None:
        while not self._over:
            key = f"call-{next(self._numbers)}"
            run_id = await wait_until_async(partial(self._start, key), 60, "an acknowledgement")
            self.told.append((time.monotonic(), str(run_id)))

    async def _start(self, key: str) -> str | None:
        answer = await self._client.post(
            "/api/v1/workflows/run", json={"definition": definition()}, headers={"Idempotency-Key": key}
        )
        if answer.status_code in RETRIED:
            self.refused.append(answer.status_code)
            return None
        assert answer.status_code == 200, answer.text
        return str(answer.json()["run_id"])

    async def more(self, number: int = ENOUGH) -> None:
        """Return when so many more runs are acknowledged."""
        wanted = len(self.told) + number

        def enough() -> bool:
            for task in self._tasks:
                if task.done():
                    task.result()
            return len(self.told) >= wanted

        await wait_until_async(enough, 60, "more runs that are acknowledged over HTTP")

    async def end(self) -> list[str]:
        """Begin nothing more; return every run that was acknowledged."""
        self._over = True
        await asyncio.gather(*self._tasks)
        await self._client.aclose()
        return [run_id for _, run_id in self.told]

    def longest(self) -> float:
        """Return the longest time between two acknowledgements, in seconds."""
        times = [at for at, _ in self.told]
        return max(after - before for before, after in pairwise(times))


async def live_through(pair: Pair, url: str, folder: Path, promoted: Callable[[], None], *, direct: str = "") -> None:
    """Have a server, a worker and clients at work while the primary is killed and its standby promoted; judge them.

    Args:
        pair: the servers.
        url: how everybody comes to the database.
        folder: where everybody works.
        promoted: called when the standby is the primary.
        direct: a way past a pooler, for the server alone: the others must do without.
    """
    await asyncio.to_thread(migrate, pair.url)
    await asyncio.to_thread(create_effects, pair.primary.dsn)
    environment = {"DATABASE_URL": url, "WORKFLOWS_DISABLE_RATE_LIMITS": "true", "LEASE_SECONDS": "2"}
    if direct:
        environment["DATABASE_DIRECT_URL"] = direct
    home = folder / "server"
    home.mkdir()
    with crew(url, folder) as processes, running_service(home, command="serve", environment=environment) as server:
        worker = await asyncio.to_thread(processes.join, "worker")
        client = await asyncio.to_thread(
            processes.join, "client", "--no-worker", "--client", "100000", "--at-once", "0"
        )
        callers = Callers(server.url)
        await callers.more()
        await asyncio.to_thread(client.wait_for, "ack", ENOUGH)

        await asyncio.to_thread(pair.primary.crash)
        await asyncio.to_thread(pair.standby.promote)
        promoted()
        await callers.more()
        await asyncio.to_thread(client.wait_for, "ack", len(client.acknowledged) + ENOUGH)
        _log.info("the longest silence was %.2f seconds", callers.longest())
        if not direct:
            await _let_the_old_one_come_back(pair, callers, worker)
        client.send(signal.SIGUSR2)
        acknowledged = await callers.end()
        await asyncio.to_thread(client.wait_for, "done")
        await asyncio.to_thread(wait_for_rest, pair.standby.dsn)
        assert worker.process.running
        judge(pair.standby.dsn, [*acknowledged, *processes.acknowledged])


async def _let_the_old_one_come_back(pair: Pair, callers: Callers, worker: Member) -> None:
    """Start the old primary, which takes itself for the primary, and have it alone for a while."""
    await asyncio.to_thread(pair.primary.start)
    with psycopg.connect(pair.primary.dsn, autocommit=True) as old:
        old.execute("ALTER SYSTEM RESET synchronous_standby_names")
        old.execute("SELECT pg_reload_conf()")
        before = old.execute("SELECT count(*) FROM workflow_runs").fetchone()
        assert old.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)
        await asyncio.to_thread(pair.standby.crash)
        await wait_until_async(lambda: REPLACED in worker.printed, 60, "a word about it from the worker")
        refused = len(callers.refused)
        await wait_until_async(lambda: len(callers.refused) > refused + CALLERS, 60, "calls that are refused")
        assert old.execute("SELECT count(*) FROM workflow_runs").fetchone() == before
        await asyncio.to_thread(pair.standby.start)
        await callers.more()
        assert old.execute("SELECT count(*) FROM workflow_runs").fetchone() == before
