"""A real HTTP server in a thread that answers as it is told and remembers what it was sent."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import orjson


@dataclass(frozen=True)
class Reply:
    """An answer: status, headers, body; ``cut`` closes the connection instead, ``hang`` waits until the server ends."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    cut: bool = False
    hang: bool = False


@dataclass(frozen=True)
class Received:
    """A request; the names of its headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class Receiver:
    """Answers with ``replies`` in turn, then with ``usual``; ``answer`` decides instead when it is set."""

    def __init__(self, family: socket.AddressFamily = socket.AF_INET, tls: ssl.SSLContext | None = None) -> None:
        self.replies: list[Reply] = []
        self.usual = Reply()
        self.answer: Callable[[Received], Reply | None] | None = None
        self.received: list[Received] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        address = "127.0.0.1" if family == socket.AF_INET else "::1"
        kind = type("Server", (_Server,), {"address_family": family})
        self._server = kind((address, 0), _Handler)
        self._server.receiver = self
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        shown = address if family == socket.AF_INET else f"[{address}]"
        self.url = f"{'http' if tls is None else 'https'}://{shown}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def take(self, received: Received) -> Reply:
        """Remember a request and return what answers it."""
        with self._lock:
            self.received.append(received)
            reply = None if self.answer is None else self.answer(received)
            if reply is not None:
                return reply
            return self.replies.pop(0) if self.replies else self.usual

    def close(self) -> None:
        """Stop answering."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Server(ThreadingHTTPServer):
    receiver: Receiver
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients of these tests break connections."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _any(self) -> None:
        receiver = cast("_Server", self.server).receiver
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = receiver.take(Received(self.command, self.path, headers, body))
        if reply.hang:
            receiver.closing.wait(60)
        if reply.hang or reply.cut:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if "Transfer-Encoding" not in reply.headers:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815  names that the library calls

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the library's name
        """Say nothing."""


@contextmanager
def receiving(family: socket.AddressFamily = socket.AF_INET, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver(family, tls)
    try:
        yield receiver
    finally:
        receiver.close()
