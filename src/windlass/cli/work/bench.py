"""What ``windlass bench`` measures, through the same doors as any user's program."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from time import perf_counter

from windlass import settings
from windlass.bootstrap import Application, run_application
from windlass.cli import output
from windlass.cli.output import number
from windlass.cli.progress import progress
from windlass.engine.step import step
from windlass.engine.workflow import workflow
from windlass.settings import Settings
from windlass.storage.sandbox import sandbox

TOGETHER = 100
STEPS = 10


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure: how many a second, and the median time of one in milliseconds."""

    what: str
    per_second: float
    p50_ms: float


@step(name="bench.nothing")
async def nothing(place: int) -> int:
    """Do nothing, durably."""
    return place


@workflow(name="bench.steps")
async def steps(count: int) -> int:
    """Run steps one after the other."""
    for place in range(count):
        await nothing(place)
    return count


async def measure(seconds: float, *, json: bool) -> None:
    """Measure everything and print it."""
    found = settings.load()
    with sandbox(found.database_direct_url or found.database_url) as address:
        given = {
            "database_url": address,
            "database_direct_url": None,
            "database_url_workflows": None,
            "auto_migrate": True,
        }
        figures = await _measure(found.model_copy(update=given), seconds)
    if json:
        output.as_json({"database": str(found.database), "measures": [asdict(figure) for figure in figures]})
        return
    print(f"{found.database}, every commit on disk")
    rows = [(figure.what, number(figure.per_second), f"{figure.p50_ms:.3f}") for figure in figures]
    output.table(("what", "per second", "p50 ms"), rows, numbers=("per second", "p50 ms"))


async def _measure(found: Settings, seconds: float) -> list[Measure]:
    async with run_application(found, worker=True) as application:
        one = _transact(application)

        async def run(count: int) -> None:
            handle = await application.engine.start_run(steps, count)
            await handle.result()

        plan: list[tuple[str, Callable[[], Awaitable[object]], int, int]] = [
            ("commits, one after the other", one, 1, 1),
            (f"commits, {TOGETHER} at a time", one, TOGETHER, 1),
            ("workflows of 1 step, one after the other", lambda: run(1), 1, 1),
            (f"workflows of 1 step, {TOGETHER} at a time", lambda: run(1), TOGETHER, 1),
            (f"steps in workflows of {STEPS}, {TOGETHER} at a time", lambda: run(STEPS), TOGETHER, STEPS),
        ]
        figures = []
        with progress("Measuring", len(plan), "measures") as shown:
            for place, (what, act, together, each) in enumerate(plan):
                shown.at(place, len(plan), what)
                figures.append(await timed(what, act, together=together, each=each, seconds=seconds))
        return figures


def _transact(application: Application) -> Callable[[], Awaitable[object]]:
    async def one() -> None:
        await application.engine.transact(lambda _tx: None)

    return one


async def timed(
    what: str, act: Callable[[], Awaitable[object]], *, together: int, each: int, seconds: float
) -> Measure:
    """Do something over and over for some seconds.

    Args:
        what: how the figure is called.
        act: what is done.
        together: by how many at the same time.
        each: how many of what is counted one act does.
        seconds: for how long.
    """
    times: list[float] = []
    begun = perf_counter()

    async def lane() -> None:
        now = perf_counter()
        while now - begun < seconds or not times:
            await act()
            ended = perf_counter()
            times.append(ended - now)
            now = ended

    await asyncio.gather(*(lane() for _ in range(together)))
    return Measure(what, len(times) * each / (perf_counter() - begun), statistics.median(times) * 1000)
