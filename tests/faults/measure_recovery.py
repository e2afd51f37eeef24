"""How long it takes to get the providers' database back, and what is lost: ``python -m tests.faults.measure_recovery``.

Four callers register without pause while copies are taken, and until the server dies. The figures are those of the
runbook.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

from tests.faults.recovering import PROGRAMS, Archived, archived
from tests.faults.test_point_in_time import Crowd, register, service
from tests.support.databases import with_database
from tests.support.demo_billing import DemoBilling, billing

FILL = """INSERT INTO candidates (id, company_name, contact_email, products, truck_count, capacity_tons_per_day, status,
 created_at, updated_at) SELECT gen_random_uuid(), 'Company ' || n, 'filled' || n || '@fruit.example',
 '["apples", "grapes"]', 5, 100, 'pending', now(), now() FROM generate_series(1, {number}) n"""


async def _seconds(call: Callable[[], object]) -> float:
    begun = time.monotonic()
    await asyncio.to_thread(call)
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


async def measure(number: int, seconds: float, *, read_lost: bool) -> dict[str, object]:
    """Return seconds and losses, by what was done.

    Args:
        number: of candidates that are there before.
        seconds: of load after the base backup.
        read_lost: whether the lost disk can be read.
    """
    said: dict[str, object] = {"candidates": number, "load_seconds": seconds, "lost disk read": read_lost}
    with archived() as database, billing() as peer:
        await asyncio.to_thread(database.ask, FILL.format(number=number))
        async with service(database, peer) as served:
            crowd = Crowd(served, database)
            said["backup.sh"] = await _seconds(partial(database.run, "backup.sh", VERIFY="restore"))
            said["base-backup.sh"] = await _seconds(partial(database.run, "base-backup.sh"))
            await asyncio.sleep(seconds)
            await crowd.cut()
            told = list(crowd.told)
            said["acknowledged"] = len(told)
            said["recover"] = await _seconds(partial(database.recover, "latest", read_lost=read_lost))
            await crowd.gone()
            said |= await _lost(database, told)
        said["serves again"] = await _until_it_serves(database, peer)
        said["restore of the dump"] = await _seconds(partial(_restore, database))
    return said


def _restore(database: Archived) -> None:
    """Restore the newest dump beside, as the runbook does."""
    database.ask("CREATE DATABASE restored TEMPLATE template0")
    command = 'gunzip -c "$FILE" | psql -X -q -v ON_ERROR_STOP=1 --single-transaction "$TO"'
    environment = {
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        "FILE": str(database.backups / "latest_backup.sql.gz"),
        "TO": with_database(database.url, "restored"),
    }
    subprocess.run(["/bin/sh", "-c", command], env=environment, check=True, capture_output=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("candidates", type=int, nargs="?", default=100_000)
    parser.add_argument("--seconds", type=float, default=100, help="of load between the base backup and the end")
    given = parser.parse_args()
    for whether in (False, True):
        said = asyncio.run(measure(given.candidates, given.seconds, read_lost=whether))
        sys.stdout.write(f"{json.dumps(said, indent=2)}\n")
        sys.stdout.flush()
