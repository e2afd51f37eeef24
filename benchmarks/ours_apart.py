"""Windlass in several processes: one starts runs that another carries out, or all write to one file at once."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.contender import Options, Outcome, Shape, main, p50_ms
from benchmarks.engine import running
from windlass import step, workflow

_OTHERS = 2


@step
async def noop(number: int) -> int:
    """Do nothing."""
    return number


@workflow(name="apart.begun")
async def begun() -> float:
    """Say when the code began, by the machine's monotonic clock."""
    return time.monotonic()


@workflow(name="apart.chain")
async def chain(steps: int) -> int:
    """Run so many no-op steps."""
    for number in range(steps):
        await noop(number)
    return steps


@contextmanager
def _beside(options: Options, shape: str) -> Iterator[subprocess.Popen[str]]:
    """Run a shape of this module in a process of its own until it is told to end; it says when it is ready."""
    command = [sys.executable, "-m", "benchmarks.ours_apart", shape, "--size", str(options.size)]
    command += ["--database", options.database, "--folder", str(options.folder)]
    command += ["--at-a-time", str(options.at_a_time)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def _work(options: Options) -> Outcome:
    """Carry runs out until the end of the input."""

    async def go() -> None:
        async with running(options.database):
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)

    asyncio.run(go())
    return Outcome(0)


def _start(options: Options) -> Outcome:
    """Median milliseconds from submission to the first line of the workflow's code, in the worker's process."""

    async def go() -> list[float]:
        async with running(options.database, embed_worker=False) as engine:
            with _beside(options, "work"):
                times = []
                for number in range(options.size + 5):
                    start = time.monotonic()
                    began: float = await (await engine.start_run(begun)).result()
                    if number >= 5:
                        times.append(began - start)
                return times

    return Outcome(p50_ms(asyncio.run(go())))


def _write(options: Options) -> Outcome:
    """Write at full load from the moment it is told to."""

    async def go() -> None:
        async with running(options.database) as engine:
            await (await engine.start_run(chain, 1)).result()
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            left = iter(range(options.size))

            async def one_after_another() -> None:
                for _ in left:
                    await (await engine.start_run(chain, 1)).result()

            await asyncio.gather(*(one_after_another() for _ in range(options.at_a_time)))

    asyncio.run(go())
    return Outcome(0)


def _size(file: Path) -> int:
    return file.stat().st_size


def _sharing(options: Options) -> Outcome:
    """Milliseconds of the longest wait of a writer while other processes write to its file at full load."""
    wal = Path(f"{options.sqlite_path}-wal")

    async def go(others: list[subprocess.Popen[str]]) -> tuple[list[float], int]:
        waits, peak = [], 0
        async with running(options.database, embed_worker=False) as engine:
            for other in others:
                assert other.stdin is not None
                other.stdin.write("go\n")
                other.stdin.flush()
            while all(other.poll() is None for other in others):
                start = time.monotonic()
                await engine.start_run(chain, 1)
                waits.append((time.monotonic() - start) * 1000)
                peak = max(peak, _size(wal))
        return waits, peak

    with ExitStack() as stack:
        others = [stack.enter_context(_beside(options, "write")) for _ in range(_OTHERS)]
        waits, peak = asyncio.run(go(others))
    return Outcome(max(waits), {"median_wait": statistics.median(waits), "writes": len(waits), "wal_peak": peak / 1e6})


SHAPES: dict[str, Shape] = {"work": _work, "start": _start, "write": _write, "sharing": _sharing}

if __name__ == "__main__":
    main(SHAPES)
