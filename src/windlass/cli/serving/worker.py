"""A process that carries out runs and answers nobody."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from windlass.bootstrap import prepare_database, run_application
from windlass.cli.output import note
from windlass.cli.serving.process import leave_on_signals, settle
from windlass.engine.telemetry import Silent
from windlass.http.logs import Log, open_log
from windlass.settings import Settings


def run(given: Mapping[str, Any], queues: Sequence[str] | None) -> None:
    """Work until told to stop; what is being worked on is given back.

    Raises:
        ConfigError: a setting is wrong, or the database is not at this version.
    """
    leave_on_signals(lambda: False)
    settings = settle(given)
    prepare_database(settings)
    log = open_log(settings)
    log.install()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_work(settings, queues, log))


class Told(Silent):
    """Puts into the log what the engine tells."""

    def __init__(self, log: Log) -> None:
        self._events = log.events

    def event(self, name: str, **fields: object) -> None:
        """Log an event."""
        self._events.warning(name, **fields)


async def _work(settings: Settings, queues: Sequence[str] | None, log: Log) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    telemetry = Told(log)
    async with run_application(settings, worker=True, queues=queues, telemetry=telemetry) as application:
        names = sorted(application.engine.registry)
        log.events.info("started", database=str(settings.database), queues=queues, workflows=names)
        note(f"Windlass works on {settings.database}: {', '.join(queues or ['every queue'])}; {', '.join(names)}")
        await stop.wait()
        log.events.info("stopping")


def _loop_factory() -> Any:
    from uvicorn.loops.auto import auto_loop_factory

    return auto_loop_factory(use_subprocess=False)
