"""Windlass in process: the engine on its real storage"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from benchmarks.contender import Options, Outcome, Shape, main, p50_ms, resident_bytes
from benchmarks.engine import running
from windlass import Engine, Workflow, gather, sleep, step, workflow
from windlass.engine.ports import Transaction

_NIGHT = 100_000.0
_KILOBYTE = "x" * 1000


@step
async def noop(number: int) -> int:
    """Do nothing."""
    return number


@step()
def in_thread(number: int) -> int:
    """Do nothing, as a plain function."""
    return number


@step
async def kilobyte(number: int) -> str:
    """Return a payload of 1 kB."""
    return f"{number}{_KILOBYTE}"


@step(transactional=True)
def transactional(tx: Transaction, number: int) -> int:
    """Change a row of the user's own in the step's transaction."""
    tx.execute("INSERT INTO bench_effects (number) VALUES (:number)", {"number": number})
    return number


@workflow
async def chain(steps: int) -> int:
    """Run so many no-op steps."""
    for number in range(steps):
        await noop(number)
    return steps


@workflow
async def threads(steps: int) -> int:
    """Run so many plain-function steps."""
    for number in range(steps):
        await in_thread(number)
    return steps


@workflow
async def payloads(steps: int) -> int:
    """Run so many steps with 1 kB of output."""
    for number in range(steps):
        await kilobyte(number)
    return steps


@workflow
async def effects(steps: int) -> int:
    """Run so many transactional steps."""
    for number in range(steps):
        await transactional(number)
    return steps


@workflow
async def parent(children: int) -> int:
    """Run that many children of one step side by side."""
    return sum(await gather(*(chain(1) for _ in range(children))))


@workflow
async def sleeper() -> None:
    """Sleep longer than the measurement lasts."""
    await sleep(_NIGHT)


async def closed_loop(engine: Engine, flow: Workflow[[int], int], argument: int, options: Options) -> float:
    """Keep ``at_a_time`` runs open until ``size`` are done; return the seconds it took."""
    left = iter(range(options.size))

    async def one_after_another() -> None:
        for _ in left:
            await (await engine.start_run(flow, argument)).result()

    start = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(options.at_a_time)))
    return time.perf_counter() - start


async def warm(engine: Engine, flow: Workflow[[int], int], argument: int) -> None:
    """Carry out a few runs that nobody measures."""
    for _ in range(3):
        await (await engine.start_run(flow, argument)).result()


def _steps(flow: Workflow[[int], int]) -> Callable[[Options], Awaitable[Outcome]]:
    async def measure(options: Options) -> Outcome:
        async with running(options.database) as engine:
            await engine.transact(lambda tx: tx.execute("CREATE TABLE bench_effects (number INTEGER)"))
            await warm(engine, flow, 10)
            seconds = await closed_loop(engine, flow, 10, options)
            return Outcome(options.size * 10 / seconds)

    return measure


async def _one_step(options: Options) -> Outcome:
    """Workflows per second, of one step each."""
    async with running(options.database) as engine:
        await warm(engine, chain, 1)
        return Outcome(options.size / await closed_loop(engine, chain, 1, options))


async def _alone(options: Options) -> Outcome:
    """Milliseconds per step of one workflow of ``size`` steps."""
    async with running(options.database) as engine:
        await warm(engine, chain, 10)
        start = time.perf_counter()
        await (await engine.start_run(chain, options.size)).result()
        return Outcome((time.perf_counter() - start) / options.size * 1000)


async def _idle(options: Options) -> Outcome:
    """Median milliseconds from submission to result of a 1-step workflow, one at a time."""
    async with running(options.database) as engine:
        await warm(engine, chain, 1)
        times = []
        for _ in range(options.size):
            start = time.perf_counter()
            await (await engine.start_run(chain, 1)).result()
            times.append(time.perf_counter() - start)
        return Outcome(p50_ms(times))


async def _children(options: Options) -> Outcome:
    """Seconds for one parent with ``size`` children."""
    async with running(options.database) as engine:
        await warm(engine, parent, 3)
        start = time.perf_counter()
        await (await engine.start_run(parent, options.size)).result()
        return Outcome(time.perf_counter() - start)


async def _sleeping(options: Options) -> Outcome:
    """Bytes of memory per sleeping run beyond the first hundredth of ``size``."""
    first = max(1, options.size // 100)
    async with running(options.database) as engine:
        await _fall_asleep(engine, first, options.at_a_time)
        before = resident_bytes()
        await _fall_asleep(engine, options.size - first, options.at_a_time)
        return Outcome((resident_bytes() - before) / (options.size - first))


async def _fall_asleep(engine: Engine, runs: int, at_a_time: int) -> None:
    """Start sleeping runs and wait until every one of them has left memory."""
    left = iter(range(runs))

    async def some() -> None:
        for _ in left:
            await engine.start_run(sleeper)

    await asyncio.gather(*(some() for _ in range(at_a_time)))
    while engine.worker.runs:  # noqa: ASYNC110  the engine tells nobody when a run parks
        await asyncio.sleep(0.02)


def _shape(measure: Callable[[Options], Awaitable[Outcome]]) -> Shape:
    def run(options: Options) -> Outcome:
        async def go() -> Outcome:
            return await measure(options)

        return asyncio.run(go())

    return run


_MEASURES = {
    "ten-steps": _steps(chain),
    "transactional-steps": _steps(effects),
    "sync-steps": _steps(threads),
    "payload-steps": _steps(payloads),
    "one-step": _one_step,
    "alone": _alone,
    "idle": _idle,
    "children": _children,
    "sleeping": _sleeping,
}
SHAPES = {name: _shape(measure) for name, measure in _MEASURES.items()}

if __name__ == "__main__":
    main(SHAPES)
