"""A process that carries out runs and answers nobody."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import uvicorn

from windlass.bootstrap import prepare_database, run_application
from windlass.cli.output import note
from windlass.cli.serving.process import leave_on_signals, settle
from windlass.cli.serving.server import listen
from windlass.http.logs import Log, Told, open_log
from windlass.http.metrics import Meter
from windlass.http.monitor import create_monitor
from windlass.http.tracing import tracer
from windlass.settings import Settings


def run(given: Mapping[str, Any], queues: Sequence[str] | None, metrics_port: int | None) -> None:
    """Work until told to stop; what is being worked on is given back.

    Args:
        given: settings said on the command line; None where nothing was.
        queues: which queues; None for all.
        metrics_port: where figures and health checks are answered; None for nowhere.

    Raises:
        ConfigError: a setting is wrong, or the database is not at this version.
        CommandError: the port is taken, or the host is none of this machine.
    """
    leave_on_signals(lambda: False)
    settings = settle(given)
    log = open_log(settings)
    log.install()
    prepare_database(settings, Told(log))
    port = None if metrics_port is None else listen(settings.host, metrics_port, "--metrics-port")
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_work(settings, queues, log, port))


class Monitor(uvicorn.Server):
    """Answers beside the work; signals are for the work."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


@asynccontextmanager
async def _shown(app: Any, settings: Settings, port: socket.socket) -> AsyncIterator[None]:
    """Answer for figures and health checks meanwhile."""
    server = Monitor(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    answering = asyncio.create_task(server.serve([port]), name="windlass-monitor")
    while not (server.started or answering.done()):  # noqa: ASYNC110  uvicorn has no event for it
        await asyncio.sleep(0)  # nobody is told of a port that refuses
    note(f"Figures are at http://{settings.host}:{port.getsockname()[1]}/metrics")
    try:
        yield
    finally:
        server.should_exit = True
        await answering


async def _work(settings: Settings, queues: Sequence[str] | None, log: Log, port: socket.socket | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    meter = None if port is None else Meter(tracer(settings, log), settings.app_version)
    async with AsyncExitStack() as stack:
        application = await stack.enter_async_context(
            run_application(settings, worker=True, queues=queues, telemetry=meter or Told(log))
        )
        if meter is not None and port is not None:
            await stack.enter_async_context(_shown(create_monitor(settings, log, meter, application), settings, port))
        names = sorted(one.code for one in application.engine.registry.definitions)
        log.events.info("started", database=str(settings.database), queues=queues, workflows=names)
        note(f"Windlass works on {settings.database}: {', '.join(queues or ['every queue'])}; {', '.join(names)}")
        await stop.wait()
        log.events.info("stopping")


def _loop_factory() -> Any:
    from uvicorn.loops.auto import auto_loop_factory

    return auto_loop_factory(use_subprocess=False)
