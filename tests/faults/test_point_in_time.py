"""The providers' database brought back to a moment between two candidates, while others go on registering."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import httpx2

from tests.faults.recovering import Archived, archived
from tests.support.apps import Served, serving
from tests.support.demo_billing import DemoBilling, billing

ADMINISTRATOR = {"username": "admin@example.com", "password": "admin123"}
_numbers = count(1)


async def register(served: Served) -> str | None:
    """Register a candidate; return its id, or None when it was not acknowledged."""
    number = next(_numbers)
    body = {
        "company_name": f"Company {number}",
        "contact_email": f"{number}@fruit.example",
        "products": ["apples"],
        "truck_count": 1,
        "capacity_tons_per_day": 1,
    }
    try:
        answer = await served.client.post("/candidates", json=body)
    except httpx2.HTTPError:
        return None
    return str(answer.json()["candidate_id"]) if answer.status_code == 201 else None


class Crowd:
    """Callers that register until one is not answered; ``acknowledged`` in order, and ``told`` with the moment of each.

    Args:
        served: what they call.
        database: where that keeps them.
    """

    def __init__(self, served: Served, database: Archived) -> None:
        self._database = database
        self.told: list[tuple[float, str]] = []
        self.callers = [asyncio.create_task(self._call(served)) for _ in range(4)]

    async def _call(self, served: Served) -> None:
        while (one := await register(served)) is not None:
            self.told.append((time.monotonic(), one))

    async def cut(self) -> list[str]:
        """Kill the database; return what was acknowledged until then.

        Nobody calls again. Whose commit was not answered hears what became of it once the database is back: see `gone`.
        """
        await asyncio.to_thread(self._database.server.crash)
        for caller in self.callers:
            caller.cancel()
        return self.acknowledged

    async def gone(self) -> None:
        """Return when all callers have left."""
        await asyncio.gather(*self.callers, return_exceptions=True)

    @property
    def acknowledged(self) -> list[str]:
        """The candidates whose registration was answered."""
        return [one for _, one in self.told]

    async def more(self, number: int = 20) -> None:
        """Return when so many more are acknowledged."""
        wanted = len(self.told) + number
        while len(self.told) < wanted:
            assert not any(caller.done() for caller in self.callers)
            await asyncio.sleep(0.01)


@asynccontextmanager
async def service(database: Archived, peer: DemoBilling) -> AsyncIterator[Served]:
    async with serving(database.url, billing_service_url=peer.url, rate_limits_enabled=False) as served:
        yield served


async def approve(served: Served, candidate_id: str) -> object:
    login = await served.client.post("/auth/login", data=ADMINISTRATOR)
    bearer = {"Authorization": f"Bearer {login.json()['access_token']}"}
    answer = await served.client.post(f"/candidates/{candidate_id}/approve", headers=bearer)
    assert answer.status_code == 200, answer.text
    return answer.json()["provider_id"]


async def test_a_moment_between_two_candidates_comes_back_and_nobody_is_created_twice() -> None:
    with archived() as database, billing() as peer:
        async with service(database, peer) as served:
            crowd = Crowd(served, database)
            await asyncio.to_thread(database.run, "base-backup.sh")
            await crowd.more()
            known = await register(served)
            assert known is not None
            before = {*crowd.acknowledged, known}
            moment = await asyncio.to_thread(database.ask, "SELECT clock_timestamp()")
            after = await register(served)
            provider = await approve(served, known)
            sent = len(crowd.acknowledged) + len(crowd.callers)
            await crowd.more(60)
            await asyncio.to_thread(database.finish_segment)
            await crowd.more()
            lost = (await crowd.cut())[sent:]
            await asyncio.to_thread(database.recover, str(moment))
            await crowd.gone()
        with_ids = await asyncio.to_thread(database.ask, "SELECT array_agg(id) FROM candidates")
        found = set(with_ids)
        assert before <= found
        assert after not in found
        assert found.isdisjoint(lost)
        assert len(lost) >= 70
        assert await asyncio.to_thread(database.ask, "SELECT count(*) FROM candidates WHERE status <> 'pending'") == 0

        async with service(database, peer) as served:
            assert await approve(served, known) == provider
            crowd = Crowd(served, database)
            await crowd.more()
            kept = await crowd.cut()
            await asyncio.to_thread(database.recover, "latest", read_lost=True)
            await crowd.gone()
        assert peer.store.count() == 1
        with_ids = await asyncio.to_thread(database.ask, "SELECT array_agg(id) FROM candidates")
        assert {*kept, *before} <= set(with_ids)
