"""An interpreter that has loaded the product, and carries each command out in a fork of itself.

A command is then a process as a user's is, with its own folder, settings, streams, signals and exit code, and leader of
a session of its own; it only need not load for a second what the one before has loaded.

    python -m tests.support.warm SOCKET

Whoever connects sends a request with three streams, and hears the command's process id in one line and its exit code in
the next. The command is ended when the connection is closed or shut down for writing before, and so when the process
that asked is gone, whatever became of it; what it has started does not outlive it.

This ends when its standard input does, and so with the process that started it.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import multiprocessing.process
import os
import pkgutil
import select
import signal
import socket
import sys
import threading
import traceback
from functools import cache
from types import ModuleType
from typing import Any

import typer.main

from tests.support.guard import ADOPT_ORPHANS, STOP_SECONDS, end_group
from tests.support.paths import BIN
from tests.support.settings import read_settings_quickly

LONGEST = 1 << 20
"""The most bytes of a request: arguments, environment, folder."""
STREAMS = 3
PROGRAMS = {
    "alembic": "alembic.config",
    "python": "tests.support.script",
    "uvicorn": "uvicorn.main",
    "windlass": "windlass.cli.main",
}
"""Where the function ``main`` of a program is."""
SERVING = (
    "uvicorn.main",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "fastapi_offline",
)
"""What a server imports when it starts."""


def load() -> None:
    """Import what commands import, make the command line of it, and look at all of it no more."""
    for package in ("windlass.cli", "windlass.bootstrap", "windlass.contexts", "windlass.http"):
        found = importlib.import_module(package)
        for module in pkgutil.walk_packages(found.__path__, f"{package}."):
            importlib.import_module(module.name)
    for name in SERVING:
        importlib.import_module(name)
    read_settings_quickly()
    typer.main.get_command = cache(typer.main.get_command)
    typer.main.get_command(importlib.import_module(PROGRAMS["windlass"]).app)
    gc.collect()
    gc.freeze()


def serve(address: str) -> None:
    """Answer one connection after the other; each is left to a process of its own."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        os.write(1, b".")
        while True:
            ready, _, _ = select.select([listener.fileno(), 0], [], [])
            if 0 in ready:
                return
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _mind(connection)
            connection.close()


def _mind(connection: socket.socket) -> None:
    """Carry one command out and say how it ended."""
    said, streams, _, _ = socket.recv_fds(connection, LONGEST, STREAMS)
    request = json.loads(said)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(ADOPT_ORPHANS, 1, 0, 0, 0)
    child = os.fork()
    if child == 0:
        connection.close()
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os._exit(_carry_out(request))
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(child)
    _say(connection, child)
    if ended not in select.select([ended, connection.fileno()], [], [])[0]:
        _end(child, ended)
    _, status = os.waitpid(child, 0)
    end_group(child)
    _say(connection, os.waitstatus_to_exitcode(status))
    os._exit(0)


def _say(connection: socket.socket, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(f"{number}\n".encode())


def _end(child: int, ended: int) -> None:
    os.kill(child, signal.SIGTERM)
    if not select.select([ended], [], [], STOP_SECONDS)[0]:
        os.kill(child, signal.SIGKILL)


def _carry_out(request: dict[str, Any]) -> int:
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["command"]
    sys.path[0] = str(BIN)
    sys.path[1:1] = [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one and one not in sys.path]
    sys.modules["__main__"] = ModuleType("__main__")  # multiprocessing has every process it starts load this one's,
    multiprocessing.process.ORIGINAL_DIR = request["folder"]  # type: ignore[attr-defined]  # and work in its folder
    sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = open(2, "w", 1, "utf-8", "backslashreplace")  # noqa: SIM115
    try:
        code = _code(_program(sys.argv[0]))
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):  # what was loaded before has the latter
            if stream is not None:
                stream.flush()
    except BrokenPipeError:
        return 120  # as the interpreter, when the last of the output finds nobody
    return code


def _program(name: str) -> Any:
    """Return what a command calls: most of it was loaded long ago."""
    return importlib.import_module(PROGRAMS.get(os.path.basename(name), name)).main  # noqa: PTH119


def _code(main: Any) -> int:
    try:
        main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1
    except BaseException:  # noqa: BLE001  what nobody handles ends a process so
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    load()
    serve(sys.argv[1])
