"""One process of a fault test: the product's composition root, a worker or a client, and lines of JSON on stdout.

    python -m tests.faults.member DATABASE_URL NAME [--client COUNT] [--no-worker] [--at-once N] [--call FOLDER] …

It says ``up`` when it is, ``ack`` for every run that was acknowledged to it, ``refused`` for calls that failed, and
whatever the engine tells. SIGTERM ends it in order; SIGUSR1 takes the limit off files; SIGUSR2 has the client begin
no more orders, however many it was to start.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import sys
from collections import Counter
from itertools import takewhile
from typing import Any

from tests.faults import load
from tests.faults.turns import measure_turns
from windlass import Engine
from windlass.bootstrap import run_application
from windlass.engine.errors import Overloaded, WriteFailed
from windlass.kernel.telemetry import Silent
from windlass.settings import load as settings


def say(kind: str, **fields: Any) -> None:
    """Print a line that survives a crash of this process."""
    os.write(sys.stdout.fileno(), json.dumps({"kind": kind, **fields}, default=str).encode() + b"\n")


class Loud(Silent):
    """Telemetry that is printed."""

    def event(self, name: str, **fields: object) -> None:
        say("event", name=name, fields=fields)


async def client(engine: Engine, flow: str, name: str, count: int, at_once: int) -> None:
    """Start orders, each until it is acknowledged: ``at_once`` at a time, and newcomers who wait for nobody."""
    enough = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, enough.set)
    numbers = takewhile(lambda _: not enough.is_set(), range(count))
    refused: Counter[str] = Counter()

    async def start(number: int) -> None:
        while True:
            try:
                handle = await engine.start_run(flow, number, idempotency_key=f"{name}-{number}")
            except (WriteFailed, Overloaded) as error:
                refused[type(error).__name__] += 1
                if refused.total() % 10 == 1:
                    say("refused", counts=refused, error=str(error))
                await asyncio.sleep(0.05)
            else:
                say("ack", run_id=handle.run_id, number=number)
                return

    async def regular() -> None:
        for number in numbers:
            await start(number)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(regular())
        for number in numbers:
            tasks.create_task(start(number))
            await asyncio.sleep(0.05)
    say("done", refused=refused)


async def callers(engine: Engine, folder: str) -> None:
    """Start eight runs that wait inside a step for a door to open."""
    for number in range(8):
        handle = await engine.start_run(load.caller, folder, number)
        say("ack", run_id=handle.run_id, number=number)


async def live(options: argparse.Namespace) -> None:
    """Be a process until told to end."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    if options.file_limit:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.file_limit, hard))
        loop.add_signal_handler(signal.SIGUSR1, resource.setrlimit, resource.RLIMIT_FSIZE, (hard, hard))
    turns = measure_turns(options.turns) if options.turns else None
    given = settings(database_url=options.url, auto_migrate=False, lease_seconds=options.lease_seconds)
    async with run_application(given, worker=not options.no_worker, telemetry=Loud()) as application:
        say("up", holder=application.engine.worker.holder)
        work = None
        if options.call:
            work = loop.create_task(callers(application.engine, options.call))
        if options.client:
            work = loop.create_task(
                client(application.engine, options.flow, options.name, options.client, options.at_once)
            )
        await over.wait()
        if work is not None:
            work.cancel()
    if turns is not None:
        say("turns", longest=turns.longest, most=turns.most, count=turns.count)
    say("ended")


def arguments() -> argparse.ArgumentParser:
    """Return what the command line may say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("name")
    parser.add_argument("--client", type=int, default=0)
    parser.add_argument("--call", default="")
    parser.add_argument("--flow", default=load.order.name)
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--no-worker", action="store_true")
    parser.add_argument("--lease-seconds", type=float, default=2.0)
    parser.add_argument("--file-limit", type=int, default=0)
    parser.add_argument("--turns", default="")
    return parser


def main() -> None:
    """Read the command line and live."""
    asyncio.run(live(arguments().parse_args()))


if __name__ == "__main__":
    main()
