"""The start of one tenant's runs while another has many queued and is at its limits.

The other's runs go on all the time, as many at once as its limit says: beside a few queued runs and beside very many,
so that only what waits is another number. Measured from the call that starts a run to the first line of its code.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time

import psycopg

from benchmarks.bare import make_tables
from benchmarks.contender import Options, Outcome, Shape, main, p50_ms
from benchmarks.engine import running
from windlass import Engine, step, workflow
from windlass.engine.starting import Start
from windlass.kernel.lanes import lane_of

_FEW = 1000
_STARTS = 300
_CHUNK = 50_000
_COLUMNS = "run_id, tenant_id, name, status, queue, lane, ageing, ready_at, inputs_json, created_at"
_VALUES = "'crowd-{0}-' || n, 'crowd', 'crowded', 'queued', 'workflows', '{1}', 60000000, 1000000 + n, '[]'"
_SQLITE = f"""INSERT INTO workflow_runs ({_COLUMNS}) WITH RECURSIVE numbers (n) AS (SELECT :first
 UNION ALL SELECT n + 1 FROM numbers WHERE n < :last) SELECT {_VALUES}, '2026-01-01T00:00:00.000000Z' FROM numbers"""
_POSTGRES = f"INSERT INTO workflow_runs ({_COLUMNS}) SELECT {_VALUES}, now() FROM generate_series(0, {{2}}) n"
_begun: dict[int, float] = {}


@step
async def pause() -> None:
    """Take a moment, and hold a place meanwhile."""
    await asyncio.sleep(0.05)


@workflow
async def crowded() -> None:
    """A run of the tenant that has many."""
    await pause()


@workflow
async def quick(number: int) -> None:
    """A run of the tenant that has few: it notes when it began."""
    _begun[number] = time.perf_counter()


def _crowd(options: Options, count: int) -> None:
    """Have so many runs of the other tenant queued, beside those that are there."""
    lane = lane_of("crowd", "1")
    if options.sqlite:
        connection = sqlite3.connect(options.sqlite_path, isolation_level=None)
        connection.execute("PRAGMA synchronous = OFF")
        for first in range(0, count, _CHUNK):
            last = min(first + _CHUNK, count) - 1
            connection.execute(_SQLITE.format(count, lane), {"first": first, "last": last})
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
    else:
        with psycopg.connect(options.database, autocommit=True) as server:
            server.execute("SET synchronous_commit = off")
            server.execute(_POSTGRES.format(count, lane, count - 1).encode())
            server.execute("VACUUM ANALYZE workflow_runs")
            server.execute("CHECKPOINT")


async def _start(engine: Engine, number: int) -> float:
    start = Start(quick, (number,), tenant_id="small", queue="workflows", lane=lane_of("small", "2"))
    before = time.perf_counter()
    run = await engine.begin(engine.request(start))
    await engine.result(run.run_id)
    return _begun[number] - before


async def _latency(options: Options, starts: int) -> float:
    async with running(options.database) as engine:
        for number in range(max(5, starts // 10)):
            await _start(engine, number)
        return p50_ms([await _start(engine, number) for number in range(starts)])


def _measured(options: Options) -> Outcome:
    """Milliseconds to a start beside ``size`` queued runs; over those beside a few, and beside none."""
    starts = max(20, min(_STARTS, options.size))
    make_tables(options.database)
    alone = asyncio.run(_latency(options, starts))
    _crowd(options, min(_FEW, options.size))
    few = asyncio.run(_latency(options, starts))
    _crowd(options, options.size + 1)
    many = asyncio.run(_latency(options, starts))
    return Outcome(many, {"few_ms": few, "alone_ms": alone, "over_few": many / few, "over_alone": many / alone})


SHAPES: dict[str, Shape] = {"crowd": _measured}

if __name__ == "__main__":
    main(SHAPES)
