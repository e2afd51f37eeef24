"""Windlass after ``kill -9``: how soon the open runs of a dead process are at work again in a new one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.contender import Options, Outcome, Shape, main
from benchmarks.engine import running
from windlass import step, workflow

_LEASE_SECONDS = 1.0


class _Gate:
    """Counts the runs that have come to the step at which they stay."""

    def __init__(self) -> None:
        self.reached = 0
        self.wanted = 0
        self.full = asyncio.Event()
        self.open = asyncio.Event()

    async def stay(self) -> None:
        """Wait until the gate opens."""
        self.reached += 1
        if self.reached == self.wanted:
            self.full.set()
        await self.open.wait()


_gate = _Gate()


@step
async def write(number: int) -> int:
    """Do nothing, so that there is something in the journal."""
    return number


@step
async def stay() -> None:
    """Stay open until the process dies."""
    await _gate.stay()


@workflow
async def open_run(number: int) -> None:
    """Journal a step, then stay open in the next."""
    await write(number)
    await stay()


@asynccontextmanager
async def _until_all_at_work(options: Options, start: int) -> AsyncIterator[float]:
    """Run an engine, start so many runs, and yield the seconds until ``size`` runs are open at the gate."""
    _gate.wanted = options.size
    left = iter(range(start))
    settings = {"worker_concurrency": 2 * options.size, "lease_seconds": _LEASE_SECONDS}
    async with running(options.database, **settings) as engine:
        begun = time.perf_counter()

        async def some() -> None:
            for number in left:
                await engine.start_run(open_run, number)

        await asyncio.gather(*(some() for _ in range(options.at_a_time)))
        await _gate.full.wait()
        yield time.perf_counter() - begun
        _gate.open.set()


def _hold(options: Options) -> Outcome:
    """Write ``size`` open runs, say how long it took, and hold them until killed."""

    async def go() -> None:
        async with _until_all_at_work(options, options.size) as seconds:
            print(seconds, flush=True)
            await asyncio.Event().wait()

    asyncio.run(go())
    raise AssertionError("unreachable: the process is killed")


def _recovery(options: Options) -> Outcome:
    """Time until all open runs of a killed process are at work again, over the time it took to write them.

    The clock starts once the dead process's lease has run out (PostgreSQL; a file lock is free at once).
    """
    command = [sys.executable, "-m", "benchmarks.ours_crash", "hold", "--size", str(options.size)]
    command += ["--database", options.database, "--folder", str(options.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        wrote = float(holder.stdout.readline())
        holder.kill()
    if not options.sqlite:
        time.sleep(2 * _LEASE_SECONDS)

    async def go() -> float:
        async with _until_all_at_work(options, 0) as seconds:
            return seconds

    recovered = asyncio.run(go())
    return Outcome(recovered / wrote, {"wrote_seconds": wrote, "recovered_seconds": recovered})


SHAPES: dict[str, Shape] = {"hold": _hold, "recovery": _recovery}

if __name__ == "__main__":
    main(SHAPES)
