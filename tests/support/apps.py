"""The application in this process, on a database of its own, with its log lines at hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import orjson
from fastapi import FastAPI

from windlass.bootstrap import Application
from windlass.http.app import create_app
from windlass.http.logs import Log, Sink
from windlass.settings import Settings


class Lines(Sink):
    """Keeps log lines instead of writing them."""

    def __init__(self) -> None:
        super().__init__(stream=None)
        self.raw: list[bytes] = []

    def write(self, line: bytes) -> None:
        self.raw.append(line)

    msg = debug = info = warning = error = critical = exception = write

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """The lines read, all or those of one event."""
        read = [orjson.loads(line) for line in self.raw]
        return [line for line in read if name in {"", line["event"]}]


@dataclass(frozen=True)
class Served:
    """A started application, a client that speaks to it without a network, and what it logs."""

    app: FastAPI
    client: httpx2.AsyncClient
    lines: Lines

    @property
    def inside(self) -> Application:
        """What is behind the HTTP edge."""
        found: Application = self.app.state.application
        return found


@asynccontextmanager
async def serving(database_url: str, *, worker: bool = True, **settings: Any) -> AsyncIterator[Served]:
    """Start the application, end it afterwards."""
    lines = Lines()
    made = Settings(**{"database_url": database_url, "lease_seconds": 5.0, **settings})
    app = create_app(made, log=Log(lines, made.log_level), worker=worker)
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://windlass") as client,
    ):
        yield Served(app, client, lines)
    vars(app).clear()  # caches of FastAPI keep what has a page of documentation, and with it all that this was
