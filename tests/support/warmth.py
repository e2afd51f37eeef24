"""Commands carried out by ``warm.py``."""

import atexit
import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path


class Warm:
    """A started ``warm.py``."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="windlass-warm-"))
        self.address = str(self._folder / "socket")
        self._popen = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("warm.py"), self.address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._popen.stdout is not None
        assert self._popen.stdout.read(1) == b".", "warm.py did not start"

    def run(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], stdin: bytes
    ) -> tuple[int, str, str]:
        """Carry a command out to its end; returns its exit code, stdout and stderr."""
        request = json.dumps({"command": command, "folder": str(folder), "environment": dict(environment)}).encode()
        with ExitStack() as stack:
            files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
            files[0].write(stdin)
            files[0].seek(0)
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(self.address)
            socket.send_fds(connection, [request], [file.fileno() for file in files])
            answer = connection.recv(16)
            for file in files[1:]:
                file.seek(0)
            return int(answer), files[1].read().decode(), files[2].read().decode()

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
