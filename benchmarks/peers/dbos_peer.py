"""DBOS Transact in process, as its quickstart writes it: decorated functions, called directly.

Settings: ``style`` (``sync`` in threads, or ``async``) and ``pool`` (connections of its system database).
SQLite runs in WAL mode with ``synchronous=FULL``, which DBOS does not set by itself; the pragmas are read
back from DBOS's own connections and go into the outcome.
"""

# mypy: disable-error-code="import-not-found, untyped-decorator"
# The library lives in a virtual environment of its own, where mypy does not look.

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version

import sqlalchemy
from dbos import DBOS
from sqlalchemy import event
from sqlalchemy.engine import Engine

from benchmarks.contender import Options, Outcome, Shape, main, p50_ms, resident_bytes, timed

_PRAGMAS = {"journal_mode": "wal", "synchronous": 2}
_NIGHT = 100_000.0
_pragmas_seen: set[str] = set()


@event.listens_for(Engine, "connect")
def _durable(connection: object, _record: object) -> None:
    """Make every SQLite connection of DBOS durable and remember what it answered."""
    if not isinstance(connection, sqlite3.Connection):
        return
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    for name, wanted in _PRAGMAS.items():
        (found,) = connection.execute(f"PRAGMA {name}").fetchone()
        if found != wanted:
            raise RuntimeError(f"DBOS's connection has {name}={found}, not {wanted}")
        _pragmas_seen.add(f"{name}={found}")


@DBOS.step()
def step(number: int) -> int:
    """Do nothing."""
    return number


@DBOS.step()
async def async_step(number: int) -> int:
    """Do nothing."""
    return number


@DBOS.workflow()
def chain(steps: int) -> int:
    """Run so many no-op steps."""
    for number in range(steps):
        step(number)
    return steps


@DBOS.workflow()
async def async_chain(steps: int) -> int:
    """Run so many no-op steps."""
    for number in range(steps):
        await async_step(number)
    return steps


@DBOS.workflow()
def parent(children: int) -> int:
    """Start that many child workflows of one step and wait for all."""
    handles = [DBOS.start_workflow(chain, 1) for _ in range(children)]
    return sum(handle.get_result() for handle in handles)


@DBOS.workflow()
async def async_parent(children: int) -> int:
    """Start that many child workflows of one step and wait for all."""
    handles = [await DBOS.start_workflow_async(async_chain, 1) for _ in range(children)]
    return sum([await handle.get_result() for handle in handles])


@DBOS.workflow()
async def sleeper() -> None:
    """Sleep durably, longer than the measurement lasts."""
    await DBOS.sleep_async(_NIGHT)


@contextmanager
def _launched(options: Options) -> Iterator[None]:
    logging.getLogger("dbos").setLevel(logging.ERROR)
    DBOS(
        config={
            "name": "bench",
            "system_database_url": options.database,
            "sys_db_pool_size": int(options.settings.get("pool", "20")),
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    try:
        yield
    finally:
        DBOS.destroy()


def _detail(options: Options) -> dict[str, object]:
    return {
        "dbos": version("dbos"),
        "sqlalchemy": sqlalchemy.__version__,
        "style": options.settings.get("style", "sync"),
        "pool": options.settings.get("pool", "20"),
        "pragmas": sorted(_pragmas_seen),
    }


def _is_async(options: Options) -> bool:
    return options.settings.get("style") == "async"


def _run_many(options: Options, workflows: int, steps: int) -> float:
    """Run workflows with ``at_a_time`` of them open; return the seconds it took."""
    if not _is_async(options):
        with ThreadPoolExecutor(options.at_a_time) as threads:
            return timed(lambda: list(threads.map(chain, [steps] * workflows)))
    return _timed_async(lambda: _closed_loop(options, workflows, steps))


async def _closed_loop(options: Options, workflows: int, steps: int) -> None:
    left = iter(range(workflows))

    async def one_after_another() -> None:
        for _ in left:
            await async_chain(steps)

    await asyncio.gather(*(one_after_another() for _ in range(options.at_a_time)))


def _timed_async(call: Callable[[], Awaitable[object]]) -> float:
    async def measure() -> float:
        start = time.perf_counter()
        await call()
        return time.perf_counter() - start

    return asyncio.run(measure())


def _ten_steps(options: Options) -> Outcome:
    """Steps per second of 10-step workflows."""
    with _launched(options):
        _run_many(options, min(options.size, 10), 10)
        seconds = _run_many(options, options.size, 10)
        return Outcome(options.size * 10 / seconds, _detail(options))


def _one_step(options: Options) -> Outcome:
    """Workflows per second, of one step each."""
    with _launched(options):
        _run_many(options, min(options.size, 20), 1)
        seconds = _run_many(options, options.size, 1)
        return Outcome(options.size / seconds, _detail(options))


def _alone(options: Options) -> Outcome:
    """Milliseconds per step of one workflow of ``size`` steps, nothing else running."""
    with _launched(options):
        chain(3)
        if _is_async(options):
            seconds = _timed_async(lambda: async_chain(options.size))
        else:
            seconds = timed(lambda: chain(options.size))
        return Outcome(seconds / options.size * 1000, _detail(options))


def _idle(options: Options) -> Outcome:
    """Median milliseconds from submission to result of a 1-step workflow, one at a time."""
    with _launched(options):
        chain(1)
        return Outcome(p50_ms([timed(lambda: chain(1)) for _ in range(options.size)]), _detail(options))


def _children(options: Options) -> Outcome:
    """Seconds for one parent with ``size`` children."""
    with _launched(options):
        if _is_async(options):
            _timed_async(lambda: async_parent(3))
            seconds = _timed_async(lambda: async_parent(options.size))
        else:
            parent(3)
            seconds = timed(lambda: parent(options.size))
        return Outcome(seconds, _detail(options))


def _sleeping(options: Options) -> Outcome:
    """Bytes of memory per sleeping workflow, from a tenth of ``size`` to ``size`` of them."""

    async def grow() -> float:
        tenth = options.size // 10
        for _ in range(tenth):
            await DBOS.start_workflow_async(sleeper)
        before = resident_bytes()
        for _ in range(options.size - tenth):
            await DBOS.start_workflow_async(sleeper)
        return (resident_bytes() - before) / (options.size - tenth)

    with _launched(options):
        return Outcome(asyncio.run(grow()), _detail(options))


SHAPES: dict[str, Shape] = {
    "ten-steps": _ten_steps,
    "one-step": _one_step,
    "alone": _alone,
    "idle": _idle,
    "children": _children,
    "sleeping": _sleeping,
}

if __name__ == "__main__":
    main(SHAPES)
