"""Commands carried out by ``warm.py``."""

import atexit
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import IO

from tests.support.paths import ROOT


class Carried:
    """A command that ``warm.py`` carries out. It cannot outlive this process, whatever ends that.

    Args:
        connection: to ``warm.py``; the request has been sent.
        command: for messages.
    """

    def __init__(self, connection: socket.socket, command: Sequence[str]) -> None:
        self._connection = connection
        self._said = connection.makefile("rb", buffering=0)  # what it holds back, select does not see
        self.args = command
        self.pid = int(self._said.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self._hear()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it has ended.

        Raises:
            TimeoutExpired: it has not within so many seconds.
        """
        if self.returncode is None and not select.select([self._connection], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return self._hear()

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def end(self) -> None:
        """End it with all that it has started, in order or else by force."""
        if self.returncode is None:
            self._connection.shutdown(socket.SHUT_WR)
            self._hear()

    def _hear(self) -> int:
        if self.returncode is None:
            self.returncode = int(self._said.readline())
            self._said.close()
            self._connection.close()
        return self.returncode


class Warm:
    """A started ``warm.py``."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="windlass-warm-"))
        self.address = str(self._folder / "socket")
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "tests.support.warm", self.address],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._popen.stdout is not None
        assert self._popen.stdout.read(1) == b".", "warm.py did not start"

    def run(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], stdin: bytes = b""
    ) -> tuple[int, str, str]:
        """Carry a command out to its end; returns its exit code, stdout and stderr."""
        with ExitStack() as stack:
            files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
            files[0].write(stdin)
            files[0].seek(0)
            code = self.start(command, folder, environment, files).wait()
            for file in files[1:]:
                file.seek(0)
            return code, files[1].read().decode(), files[2].read().decode()

    def start(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], streams: Sequence[IO[bytes]]
    ) -> Carried:
        """Have a command carried out beside this process.

        Args:
            command: a program that `warm.py` knows, or the name of a module with a function `main`, and its arguments.
            folder: where it works.
            environment: all of it.
            streams: its stdin, stdout and stderr.
        """
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.address)
        request = json.dumps({"command": command, "folder": str(folder), "environment": dict(environment)}).encode()
        socket.send_fds(connection, [request], [stream.fileno() for stream in streams])
        return Carried(connection, command)

    def close(self) -> None:
        """End it."""
        self._popen.communicate()
        shutil.rmtree(self._folder)


@cache
def warm() -> Warm:
    """Return the one of this process, started when it is first asked for."""
    made = Warm()
    atexit.register(made.close)
    return made
