"""What the main job's tests are made of: a server that is killed and started again, and a slow line to it."""

import signal
import socket
import threading
from collections.abc import Mapping
from pathlib import Path

import httpx2

from tests.support.commands import Process, Windlass
from tests.support.paths import EXAMPLES
from tests.support.ports import free_port
from tests.support.servers import CarriedProcess
from tests.support.service import answers
from tests.support.waiting import wait_until

GATED_APP = '''
"""The example's processor, which stops at a gate: a lock that the test holds."""

import fcntl
import itertools
from pathlib import Path

from examples.debian import app

FREE = {free}
_calls = itertools.count()


def gate(entry: app.Entry) -> None:
    """Let the first pass; the others say that they are there, and wait until nobody holds the lock."""
    if next(_calls) >= FREE:
        Path("at the gate").touch()
        with Path("gate").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)


app.RULES = (gate, *app.RULES)
'''


class Server:
    """`windlass up` with the example's processor, always on the same port of the same folder.

    Args:
        folder: an empty folder.
        database: the address of its database.
    """

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._windlass = Windlass(folder, {"DATABASE_URL": database, "AUTO_MIGRATE": "true", "LEASE_SECONDS": "2"})
        self._process: CarriedProcess | None = None
        self._client = httpx2.Client(base_url=self.url, timeout=30)
        (folder / "examples").symlink_to(EXAMPLES)

    def start(self, app: str = "examples.debian.app") -> None:
        """Start it and return when it is healthy."""
        self._process = CarriedProcess(
            ["windlass", "up", "--port", str(self.port), "--app", app],
            folder=self.folder,
            log=self.folder / "server.log",
            environment=self._windlass.environment,
        )
        self._process.wait_ready(lambda: answers(self.url), timeout=60)

    def kill(self) -> None:
        """Kill it with SIGKILL: nothing in it gets another moment."""
        assert self._process is not None
        self._process.send(signal.SIGKILL)
        self._process.wait_ended()

    def stop(self) -> None:
        """End it in order, if it runs."""
        self._client.close()
        if self._process is not None:
            self._process.stop()

    def command(self, *arguments: str, url: str | None = None) -> Process:
        """Start a `windlass` command that talks to this server, or to another address."""
        return self.local(*arguments, "--url", url or self.url)

    def local(self, *arguments: str) -> Process:
        """Start a `windlass` command on the database itself."""
        return Process(self._windlass, arguments)

    def get(self, path: str) -> dict[str, object]:
        """Ask the server."""
        found: dict[str, object] = self._client.get(path).raise_for_status().json()
        return found

    def post(self, path: str, body: Mapping[str, object]) -> dict[str, object]:
        """Tell the server."""
        found: dict[str, object] = self._client.post(path, json=body).raise_for_status().json()
        return found


def ended(command: Process) -> str:
    """Return what a command printed, once it has ended well."""
    try:
        assert command.wait() == 0, f"{command.out}\n{command.err}"
    finally:
        command.kill()
    return command.out


class SlowLine:
    """A way to a server that carries so many bytes to it and no more, until it is opened.

    Args:
        port: the server's port.
        first: bytes that go through before.
    """

    def __init__(self, port: int, first: int) -> None:
        self._port = port
        self._left = first
        self._open = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{int(self._listener.getsockname()[1])}"
        self.full = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def open(self) -> None:
        """Let everything through from now on."""
        self._open.set()

    def close(self) -> None:
        """Take no further connections."""
        self._open.set()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._port))
        except ConnectionRefusedError:
            client.close()
            return
        back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
        back.start()
        self._copy(client, server, slow=True)
        back.join()
        client.close()
        server.close()

    def _copy(self, source: socket.socket, target: socket.socket, *, slow: bool = False) -> None:
        try:
            while data := source.recv(16 * 1024):
                if slow and not self._open.is_set():
                    self._left -= len(data)
                    if self._left < 0:
                        self.full.set()
                        self._open.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            for end in (source, target):
                end.close()


def wait_for_records(server: Server, least: int, *, done: bool = False) -> int:
    """Return how many records there are (`done`: that are no longer pending), once there are so many."""

    def count() -> int:
        totals = server.get("/reports/summary")["totals"]
        assert isinstance(totals, dict)
        return int(totals["processed"] + totals["failed"] if done else totals["all"])

    return wait_until(lambda: (found := count()) >= least and found, timeout=60, what=f"{least} records")
