"""Windlass as a fleet: several workers on one PostgreSQL carry out what another process has started before."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from datetime import UTC, datetime

import psycopg

from benchmarks.contender import Options, Outcome, Shape, main
from benchmarks.engine import running
from windlass import step, workflow

_STEPS = 10
_AT_ONCE = 200
_QUEUE = "fleet"
_OPEN = "SELECT EXISTS (SELECT 1 FROM workflow_runs WHERE status IN ('queued', 'running'))"
_TOOK = """SELECT extract(epoch FROM max(ended_at) - %s::timestamptz)::float8, count(*) FROM workflow_runs
 WHERE status = 'succeeded'"""


@step
async def noop(number: int) -> int:
    """Do nothing."""
    return number


@workflow(name="fleet.chain")
async def chain(steps: int) -> int:
    """Run so many no-op steps."""
    for number in range(steps):
        await noop(number)
    return steps


def _work(options: Options) -> Outcome:
    """Carry runs out until the end of the input."""

    async def go() -> None:
        async with running(options.database, worker_concurrency=options.at_a_time):
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)

    asyncio.run(go())
    return Outcome(0)


async def _queue(options: Options) -> None:
    """Start all runs on a queue that is paused."""
    async with running(options.database, embed_worker=False) as engine:
        await engine.set_queue(_QUEUE, paused=True)
        left = iter(range(options.size))

        async def some() -> None:
            for _ in left:
                await engine.start_run(chain, _STEPS, queue=_QUEUE)

        await asyncio.gather(*(some() for _ in range(_AT_ONCE)))


async def _open(options: Options) -> datetime:
    """Let the workers begin; returns when."""
    async with running(options.database, embed_worker=False) as engine:
        begun = datetime.now(UTC)
        await engine.set_queue(_QUEUE, paused=False)
        return begun


def _worker(options: Options) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.ours_fleet", "work", "--size", "1", "--folder", str(options.folder)]
    command += ["--database", options.database, "--at-a-time", str(options.at_a_time)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _fleet(count: int) -> Shape:
    """Steps per second of so many workers, from the moment they may begin until the last run has ended."""

    def measure(options: Options) -> Outcome:
        asyncio.run(_queue(options))
        workers = [_worker(options) for _ in range(count)]
        try:
            for worker in workers:
                assert worker.stdout is not None
                worker.stdout.readline()
            begun = asyncio.run(_open(options))
            with psycopg.connect(options.database, autocommit=True) as server:
                while server.execute(_OPEN).fetchone() == (True,):
                    time.sleep(0.05)
                took, runs = server.execute(_TOOK, (begun,)).fetchone() or (0, 0)
        finally:
            for worker in workers:
                worker.kill()
                worker.communicate()
        assert runs == options.size, f"{runs} of {options.size} runs succeeded"
        return Outcome(runs * _STEPS / took, {"workers": count})

    return measure


SHAPES: dict[str, Shape] = {"work": _work, "one": _fleet(1), "two": _fleet(2), "four": _fleet(4)}

if __name__ == "__main__":
    main(SHAPES)
