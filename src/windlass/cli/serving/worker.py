"""A process that carries out runs and answers nobody."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from windlass.bootstrap import prepare_database, run_application
from windlass.cli.output import note
from windlass.cli.serving.process import leave_on_signals, settle
from windlass.settings import Settings


def run(given: Mapping[str, Any], queues: Sequence[str] | None) -> None:
    """Work until told to stop; what is being worked on is given back.

    Raises:
        ConfigError: a setting is wrong, or the database is not at this version.
    """
    leave_on_signals(lambda: False)
    settings = settle(given)
    prepare_database(settings)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_work(settings, queues))


async def _work(settings: Settings, queues: Sequence[str] | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with run_application(settings, worker=True, queues=queues) as application:
        names = ", ".join(sorted(application.engine.registry))
        where = ", ".join(queues) if queues else "every queue"
        note(f"Windlass works on {settings.database}: {where}; {names}")
        await stop.wait()
        note("Windlass stops: runs in hand are given back")


def _loop_factory() -> Any:
    from uvicorn.loops.auto import auto_loop_factory

    return auto_loop_factory(use_subprocess=False)
