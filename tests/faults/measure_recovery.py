"""How long it takes to get the providers' database back, and what is lost: ``python -m tests.faults.measure_recovery``.

Four callers register without pause while copies are taken, and until the server dies. The figures are those of the
runbook.
"""

import argparse
import asyncio
import json
import time

from tests.faults.recovering import Archived, archived
from tests.faults.test_point_in_time import Crowd, register, service
from tests.support.demo_billing import DemoBilling, billing

FILL = """INSERT INTO candidates (id, company_name, contact_email, products, truck_count, capacity_tons_per_day, status,
 created_at, updated_at) SELECT gen_random_uuid(), 'Company ' || n, 'filled' || n || '@fruit.example',
 '["apples", "grapes"]', 5, 100, 'pending', now(), now() FROM generate_series(1, {number}) n"""


async def _seconds(call: object, *arguments: str) -> float:
    begun = time.monotonic()
    await asyncio.to_thread(call, *arguments)  # type: ignore[arg-type]
    return round(time.monotonic() - begun, 1)


async def _until_it_serves(database: Archived, peer: DemoBilling) -> float:
    begun = time.monotonic()
    async with service(database, peer) as served:
        assert await register(served) is not None
        return round(time.monotonic() - begun, 1)


async def _lost(database: Archived, acknowledged: list[tuple[float, str]]) -> dict[str, float]:
    """Return how many acknowledged candidates are gone, and how long before the end the oldest of them was told."""
    found = set(await asyncio.to_thread(database.ask, "SELECT array_agg(id) FROM candidates"))
    gone = [when for when, one in acknowledged if one not in found]
    return {"lost": len(gone), "lost_seconds": round(acknowledged[-1][0] - gone[0], 1) if gone else 0}


async def measure(number: int, seconds: float) -> dict[str, object]:
    """Return seconds and losses, by what was done."""
    said: dict[str, object] = {"candidates": number, "load_seconds": seconds}
    with archived() as database, billing() as peer:
        await asyncio.to_thread(database.ask, FILL.format(number=number))
        async with service(database, peer) as served:
            crowd = Crowd(served)
            said["dump"] = await _seconds(database.run, "backup.sh")
            said["base"] = await _seconds(database.run, "base-backup.sh")
            await asyncio.sleep(seconds)
            await asyncio.to_thread(database.server.crash)
            await asyncio.gather(*crowd.callers)
        for name, spare in (("archive alone", False), ("lost disk read", True)):
            way: dict[str, float] = {"recover": await _seconds(database.recover, "latest", *(["spare"] if spare else []))}
            way |= await _lost(database, crowd.told)
            way["serving"] = await _until_it_serves(database, peer)
            said[name] = way
            if not spare:
                await asyncio.to_thread(database.forget_recovery)
        said["restore dump"] = {"restore": await _seconds(database.restore_dump)}
    return said


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("candidates", type=int, nargs="?", default=100_000)
    parser.add_argument("--seconds", type=float, default=100, help="of load between the base backup and the end")
    given = parser.parse_args()
    print(json.dumps(asyncio.run(measure(given.candidates, given.seconds)), indent=2))
