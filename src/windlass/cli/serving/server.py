"""The HTTP server: one process, or several on one socket."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from windlass.bootstrap import prepare_database
from windlass.cli.exits import CommandError, ExitCode
from windlass.cli.serving import banner
from windlass.cli.serving.process import leave_on_signals, settle
from windlass.contexts.identity.api import DEVELOPMENT_PASSWORD, DEVELOPMENT_USER
from windlass.contexts.records.api import load_processors
from windlass.http.logs import Told, open_log
from windlass.settings import Settings

APP = "windlass.http.app:app"
STOP_SECONDS = 10
"""How long requests in flight may take once the server is told to stop."""
START_SECONDS = 60.0
BACKLOG = 2048
_OF_THE_PORT = frozenset({errno.EADDRINUSE, errno.EACCES})


class Server(uvicorn.Server):
    """Says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        if not self.should_exit:
            self._ready()


class Servers(Multiprocess):
    """Several processes; says when the first one answers."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], ready: Callable[[], None]) -> None:
        super().__init__(config, sockets)
        self._ready = ready

    def init_processes(self) -> None:
        """Start them, then say so."""
        super().init_processes()
        if self.processes[0].wait_until_ready(START_SECONDS):
            self._ready()

    @property
    def failed(self) -> bool:
        """Whether a process could not start."""
        return any(process.exitcode == STARTUP_FAILURE for process in self.processes)


def run(given: Mapping[str, Any], workers: int) -> None:
    """Serve until told to stop.

    Args:
        given: settings said on the command line; None where nothing was.
        workers: how many processes.

    Raises:
        ConfigError: a setting is wrong, a module cannot be imported, or the database is not at this version.
        CommandError: the port is taken, the host is none of this machine, or the server could not start.
    """
    server: Server | None = None
    leave_on_signals(lambda: server is not None and server.started)
    settings = settle(given)
    log = open_log(settings)
    load_processors(settings.app_modules)
    prepare_database(settings, Told(log))
    log.close()
    listener = listen(settings.host, settings.port)
    config = uvicorn.Config(
        APP,
        workers=workers,
        lifespan="on",
        log_config=None,
        access_log=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=STOP_SECONDS,
    )

    def ready() -> None:
        _say(settings, listener)

    if workers > 1:
        servers = Servers(config, [listener], ready)
        servers.run()
        if servers.failed:
            raise _could_not_start()
        return
    config.load_app()
    server = Server(config, ready)
    try:
        server.run([listener])
    except SystemExit as ended:
        if ended.code == STARTUP_FAILURE:
            raise _could_not_start() from ended
        raise


def listen(host: str, port: int, option: str = "--port") -> socket.socket:
    """Return a socket that listens.

    Raises:
        CommandError: the port is taken, or the host is none of this machine; advises another ``option``.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, UnicodeError) as error:
        listener.close()
        raise _cannot_listen(host, port, error, option) from error
    listener.set_inheritable(True)
    return listener


def _cannot_listen(host: str, port: int, error: OSError | UnicodeError, option: str) -> CommandError:
    reason = getattr(error, "strerror", None) or str(error)
    if getattr(error, "errno", None) in _OF_THE_PORT:
        hint = f"choose another with {option}; {option} 0 takes a free one"
        return CommandError(ExitCode.UNAVAILABLE, f"cannot listen on {host}:{port}: {reason}", hint)
    hint = "--host takes an address of this machine; 0.0.0.0 is every IPv4 address"
    return CommandError(ExitCode.USAGE, f"HOST: cannot listen on {host}: {reason}", hint)


def _say(settings: Settings, listener: socket.socket) -> None:
    bound: Sequence[Any] = listener.getsockname()
    known = settings.app_env == "dev" and settings.auth_mode == "multi_user"
    banner.show(
        banner.address(settings.host, bound[1]),
        str(settings.database),
        keyed=settings.api_key is not None,
        worker=settings.embed_worker,
        login=(DEVELOPMENT_USER, DEVELOPMENT_PASSWORD) if known else None,
        alone=settings.serve_only is not None,
    )


def _could_not_start() -> CommandError:
    return CommandError(ExitCode.INTERNAL, "the server could not start", "its log says why")
