"""An interpreter that has loaded the product, and carries each command out in a fork of itself.

A command is then a process as a user's is, with its own folder, settings, streams and exit code; it only need not load
for a second what the one before has loaded.

    python warm.py SOCKET

It ends when its standard input does, and so with the process that started it.
"""

import atexit
import contextlib
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import threading
import traceback
from typing import Any

LONGEST = 1 << 20
"""The most bytes of a request: arguments, environment, folder."""
STREAMS = 3


def load() -> None:
    """Import what commands import."""
    for package in ("windlass.cli", "windlass.bootstrap", "windlass.contexts"):
        found = importlib.import_module(package)
        for module in pkgutil.walk_packages(found.__path__, f"{package}."):
            importlib.import_module(module.name)


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
    child = os.fork()
    if child == 0:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os._exit(_carry_out(request))
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _carry_out(request: dict[str, Any]) -> int:
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["command"]
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8"))  # noqa: SIM115, PTH123
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
    """Return what a command calls; all of it was loaded long ago."""
    if name == "alembic":
        from alembic.config import main as alembic

        return alembic
    from windlass.cli.main import main

    return main


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
