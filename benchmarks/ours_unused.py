"""Windlass with features that are there and not used: the no-op ten-step workflow beside each, and without it.

``server`` is what a server has beside its engine, over an engine alone; all others have something more than a server.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.bare import make_tables
from benchmarks.contender import Options, Outcome, Shape, main
from benchmarks.engine import running
from benchmarks.ours import chain, closed_loop, noop, warm
from benchmarks.ours_grown import empty_database
from benchmarks.turns import PAIRS, Turn, compare, take_turns
from windlass import Engine, Workflow, checkpoint, step, workflow
from windlass.bootstrap import open_backend, run_application
from windlass.http.logs import Told, open_log
from windlass.kernel.tuning import tune_process
from windlass.settings import load
from windlass.storage.committer import Committer

_STEPS = 10
_OTHERS = 50
Running = Callable[[Options], Any]
"""Runs an engine in which the feature is."""
_others: list[subprocess.Popen[str]] = []
"""Processes that belong to this side."""


@workflow(name="unused.checkpoint")
async def checkpointed(steps: int) -> int:
    """Run so many no-op steps in a loop whose checkpoint never comes."""
    for number in range(steps):
        await noop(number)
        checkpoint(steps, every=1000)
    return steps


def _plain(**settings: Any) -> Running:
    return lambda options: running(options.database, **settings)


@asynccontextmanager
async def _alone(options: Options) -> AsyncIterator[Engine]:
    """Run an engine with nothing beside it, as a program makes it that takes the engine alone."""
    make_tables(options.database)
    settings = load(database_url=options.database)
    backend = open_backend(settings.database, settings.lease_seconds)
    commits = Committer(backend.write_session(), limit=settings.commit_queue_limit)
    clock = await asyncio.to_thread(backend.agree)
    engine = Engine(
        backend, commits, clock=clock, concurrency=settings.worker_concurrency, lease_seconds=settings.lease_seconds
    )
    commits.on_rings = engine.worker.on_rings
    commits.start()
    tune_process()
    try:
        async with engine:
            yield engine
    finally:
        await asyncio.to_thread(commits.close)
        await asyncio.to_thread(backend.close)


@asynccontextmanager
async def _limits(options: Options) -> AsyncIterator[Engine]:
    """Limit other queues than that of the runs."""
    async with running(options.database) as engine:
        for number in range(_OTHERS):
            await engine.set_queue(f"other{number}", limit=1)
        yield engine


@asynccontextmanager
async def _executors(options: Options) -> AsyncIterator[Engine]:
    """Know steps that run in processes and on Ray, and call none."""
    for number in range(_OTHERS):
        step(name=f"unused{number}", executor="processes" if number % 2 else "ray")(os.path.basename)
    async with running(options.database, executor_processes=2) as engine:
        yield engine


@asynccontextmanager
async def _versions(options: Options) -> AsyncIterator[Engine]:
    """Know many other workflows, in two versions each."""
    for number in range(_OTHERS):
        for version in ("1", "2"):
            workflow(name=f"unused.other{number}", version=version)(chain.fn)
    async with running(options.database) as engine:
        yield engine


@asynccontextmanager
async def _listeners(options: Options) -> AsyncIterator[Engine]:
    """Count, and make spans for which there is no provider, as a server does whose metrics nobody asks for."""
    os.environ["OTEL_SERVICE_NAME"] = "benchmarks"
    settings = load(database_url=options.database, auto_migrate=True, log_level="WARNING")
    log = open_log(settings)
    log.install()
    async with run_application(settings, telemetry=Told(log)) as application:
        yield application.engine


@asynccontextmanager
async def _kit(options: Options) -> AsyncIterator[Engine]:
    """Have loaded what tests and releases are checked with."""
    for name in ("crash", "driver", "memory", "journals", "linting", "skipping", "plugin"):
        importlib.import_module(f"windlass.testing.{name}")
    importlib.import_module("windlass.replay.run")
    importlib.import_module("windlass.deploy.patches")
    async with running(options.database) as engine:
        yield engine


@contextmanager
def _worker(options: Options) -> Iterator[None]:
    """Have another process on the database that finds nothing to do: it takes runs of another queue."""
    command = [sys.executable, "-m", "benchmarks.ours_unused", "idle", "--size", "1", "--folder", str(options.folder)]
    with subprocess.Popen(
        [*command, "--database", options.database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        _others.append(process)
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield
        finally:
            process.kill()


@asynccontextmanager
async def _fleet(options: Options) -> AsyncIterator[Engine]:
    """Have another worker beside, with nothing to do."""
    async with running(options.database) as engine:
        with _worker(options):
            yield engine


def _idle(options: Options) -> Outcome:
    """Be that worker until the end of the input."""

    async def go() -> None:
        settings = load(database_url=options.database)
        async with run_application(settings, worker=True, queues=["elsewhere"]):
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)

    asyncio.run(go())
    return Outcome(0)


async def _take_part(there: Running, flow: Workflow[[int], int], options: Options, connection: Connection) -> None:
    """Carry out a share of ten-step workflows at each turn."""
    async with there(options) as engine:
        await warm(engine, flow, _STEPS)
        share = replace(options, size=max(1, options.size // PAIRS))

        async def turn() -> Turn:
            _tell(signal.SIGCONT)
            begun = time.process_time()
            seconds = await closed_loop(engine, flow, _STEPS, share)
            worked = time.process_time() - begun
            _tell(signal.SIGSTOP)
            return Turn(seconds, worked)

        await take_turns(connection, turn)


def _tell(whether: signal.Signals) -> None:
    """Have processes that belong to this side go on, or stand still while it is the other's turn."""
    for process in _others:
        process.send_signal(whether)


_SERVER = _plain()
_ALONE = "server"
_FEATURES: dict[str, tuple[Running, Workflow[[int], int]]] = {
    _ALONE: (_SERVER, chain),
    "again": (_SERVER, chain),
    "limits": (_limits, chain),
    "executors": (_executors, chain),
    "versions": (_versions, chain),
    "checkpoint": (_SERVER, checkpointed),
    "listeners": (_listeners, chain),
    "clockwork": (
        _plain(
            workflows_scheduler_enabled=True,
            workflows_artifact_gc_enabled=True,
            workflows_db_maintenance_enabled=True,
            workflows_webhook_dlq_enabled=True,
        ),
        chain,
    ),
    "kit": (_kit, chain),
    "fleet": (_fleet, chain),
}


def _work(feature: str, options: Options, connection: Connection) -> None:
    """Be the side that has a feature, or with an empty name the one that has none of them."""
    there, flow = _FEATURES.get(feature, (_SERVER, chain))
    asyncio.run(_take_part(_alone if feature == "alone" else there, flow, options, connection))


def _shape(feature: str) -> Shape:
    """Steps per second with a feature over those without."""

    def measure(options: Options) -> Outcome:
        with empty_database(options) as second:
            without = partial(_work, "alone" if feature == _ALONE else "")
            return compare((partial(_work, feature), options), (without, replace(options, database=second)))

    return measure


SHAPES: dict[str, Shape] = {"idle": _idle, **{feature: _shape(feature) for feature in _FEATURES}}

if __name__ == "__main__":
    main(SHAPES)
