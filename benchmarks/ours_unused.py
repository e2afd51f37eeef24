"""Windlass with features that are there and not used: the no-op ten-step workflow beside each.

``alone`` is an engine without anything beside it; all others have what a server has, and most have something more.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from benchmarks.bare import make_tables
from benchmarks.contender import Options, Outcome, Shape, main
from benchmarks.engine import running
from benchmarks.ours import chain, closed_loop, noop, warm
from windlass import Engine, Workflow, checkpoint, step, workflow
from windlass.bootstrap import open_backend, run_application
from windlass.http.logs import Told, open_log
from windlass.settings import load
from windlass.storage.committer import Committer

_STEPS = 10
_OTHERS = 50
Running = Callable[[Options], Any]
"""Runs an engine in which the feature is."""


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
def _worker(options: Options) -> Any:
    """Have another process on the database that finds nothing to do: it takes runs of another queue."""
    command = [sys.executable, "-m", "benchmarks.ours_unused", "idle", "--size", "1", "--folder", str(options.folder)]
    with subprocess.Popen(
        [*command, "--database", options.database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
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


def _shape(there: Running, flow: Workflow[[int], int] = chain) -> Shape:
    """Steps per second of ten-step workflows, and per second of this process's processors."""

    async def go(options: Options) -> Outcome:
        async with there(options) as engine:
            await warm(engine, flow, _STEPS)
            begun = time.process_time()
            seconds = await closed_loop(engine, flow, _STEPS, options)
            worked, steps = time.process_time() - begun, options.size * _STEPS
            return Outcome(steps / seconds, {"processor_rate": steps / worked})

    return lambda options: asyncio.run(go(options))


SHAPES: dict[str, Shape] = {
    "idle": _idle,
    "alone": _shape(_alone),
    "plain": _shape(_plain()),
    "again": _shape(_plain()),
    "limits": _shape(_limits),
    "executors": _shape(_executors),
    "versions": _shape(_versions),
    "checkpoint": _shape(_plain(), checkpointed),
    "listeners": _shape(_listeners),
    "clockwork": _shape(
        _plain(
            workflows_scheduler_enabled=True,
            workflows_artifact_gc_enabled=True,
            workflows_db_maintenance_enabled=True,
            workflows_webhook_dlq_enabled=True,
        )
    ),
    "kit": _shape(_kit),
    "fleet": _shape(_fleet),
}

if __name__ == "__main__":
    main(SHAPES)
