"""Run the product itself as a user does: its command, in a folder of its own, over HTTP."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.paths import BIN
from tests.support.ports import free_port
from tests.support.servers import CarriedProcess, GuardedProcess, ServerProcess

PLACES = {
    "uvicorn": "--port {port}",
    "gunicorn": "--worker-class uvicorn_worker.UvicornWorker --bind 127.0.0.1:{port}",
}
"""How ASGI servers are told where to answer, by name."""


@dataclass(frozen=True)
class Service:
    """A running server: where it answers, its process, and the folder it works in."""

    url: str
    process: ServerProcess
    folder: Path


@contextmanager
def running_service(
    folder: Path, *options: str, command: str = "up", environment: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """Start `windlass up` (or `serve`) on a free port, wait for its health, end it afterwards.

    Args:
        folder: its working folder; the default database is made there.
        options: further options of the command.
        command: the command of `windlass`.
        environment: settings on top of the caller's environment.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = CarriedProcess(
        ["windlass", command, "--port", str(port), *options],
        folder=folder,
        log=folder / "service.log",
        environment={**os.environ, **(environment or {})},
    )
    try:
        process.wait_ready(lambda: answers(url), timeout=60)
        yield Service(url, process, folder)
    finally:
        process.stop()


@contextmanager
def running_asgi(
    folder: Path, *options: str, server: str = "uvicorn", environment: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """Start `uvicorn windlass.http.app:app` as the seed says, or another server; see `running_service`."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    start = CarriedProcess if server == "uvicorn" else GuardedProcess
    process = start(
        [str(BIN / server), "windlass.http.app:app", *PLACES[server].format(port=port).split(), *options],
        folder=folder,
        log=folder / "service.log",
        environment={**os.environ, **(environment or {})},
    )
    try:
        process.wait_ready(lambda: answers(url), timeout=60)
        yield Service(url, process, folder)
    finally:
        process.stop()


def answers(url: str) -> bool:
    """Say whether the server at an address says that it is well."""
    where = urlsplit(url)
    connection = HTTPConnection(where.hostname or "", where.port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
