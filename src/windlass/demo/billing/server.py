"""The demo billing as a server that can break its connections."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from starlette.types import Scope
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from windlass.demo.billing.app import Tell, create_app
from windlass.demo.billing.faults import Switch
from windlass.demo.billing.store import Store

if TYPE_CHECKING:
    _Http = asyncio.Protocol
else:
    _Http = AutoHTTPProtocol
STOP_SECONDS = 1
"""How long calls in flight may take once it is told to stop."""


class Lines:
    """Knows the open connections by who is at the other end."""

    def __init__(self) -> None:
        self._open: dict[Any, asyncio.Transport] = {}

    def drop(self, scope: Scope) -> None:
        """Break the connection of a request."""
        transport = self._open.get(tuple(scope["client"]))
        if transport is not None:
            transport.abort()

    def protocol(self) -> type[asyncio.Protocol]:
        """Return uvicorn's protocol of HTTP, which also tells these lines of its connections."""
        lines = self._open

        class Told(_Http):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.other_end = transport.get_extra_info("peername")[:2]
                lines[self.other_end] = cast("asyncio.Transport", transport)
                super().connection_made(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                lines.pop(self.other_end, None)
                super().connection_lost(exc)

        return Told


class Server(uvicorn.Server):
    """Serves the demo billing.

    Args:
        store: where the providers are.
        switch: the faults that are on.
        tell: hears a line about each call.
        ready: called when it answers.
    """

    def __init__(
        self, store: Store, switch: Switch, tell: Tell = lambda _line: None, ready: Callable[[], None] = lambda: None
    ) -> None:
        lines = Lines()
        super().__init__(
            uvicorn.Config(
                create_app(store, switch, lines.drop, tell),
                http=lines.protocol(),
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        if not self.should_exit:
            self._ready()
