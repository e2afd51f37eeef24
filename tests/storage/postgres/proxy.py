"""A TCP proxy in front of PostgreSQL that can lose what passes, at one chosen moment."""

from __future__ import annotations

import select
import socket
import threading
from enum import Enum
from urllib.parse import urlsplit, urlunsplit


class Loss(Enum):
    """What happens to the next thing a client says; its connection is cut then."""

    QUESTION = "it never reaches the server"
    ANSWER = "the server does it and answers, but the client never hears"
    WAIT = "it reaches the server, and the client is cut off before there is an answer"
    DELAY = "the client is cut off at once, and the server gets it when ``deliver`` is called"


_KEY = b"K\0\0\0\x0c"
"""How a server begins to tell its process and a key, with which a client may cancel; twelve bytes long before."""


class Proxy:
    """Carries connections to the server of ``dsn`` until told to lose something; ``url`` leads through it.

    Args:
        dsn: the server.
        pooler: whether to tell clients of a process that is none, as poolers do.
    """

    def __init__(self, dsn: str, *, pooler: bool = False) -> None:
        self._pooler = pooler
        parts = urlsplit(dsn)
        self._server = (parts.hostname or "", parts.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        credentials = parts.netloc.rpartition("@")[0]
        self.url = urlunsplit(parts._replace(netloc=f"{credentials}@127.0.0.1:{port}"))
        self._next: Loss | None = None
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._deliver = threading.Event()
        self._delivered = threading.Event()
        self._start(self._accept)

    def lose(self, loss: Loss) -> None:
        """Lose what a client says next."""
        self._next = loss

    def deliver(self) -> None:
        """Let the server have what was delayed, and wait until it has dealt with it."""
        self._deliver.set()
        self._delivered.wait(30)

    def close(self) -> None:
        """Cut everything."""
        self._closing = True
        self._deliver.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._carry, client)

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server) as server:
            try:
                while not self._closing:
                    ready, _, _ = select.select([client, server], [], [], 0.1)
                    for source in ready:
                        data = source.recv(1 << 16)
                        if not data or not self._pass(data, source, client, server):
                            return
            except OSError:
                return
            finally:
                self._delivered.set()

    def _pass(self, data: bytes, source: socket.socket, client: socket.socket, server: socket.socket) -> bool:
        """Hand data over; says whether the connection goes on."""
        if source is server:
            if self._pooler and _KEY in data:
                place = data.index(_KEY) + len(_KEY)
                data = data[:place] + b"\x7f\xff\xff\xff" + data[place + 4 :]
            client.sendall(data)
            return True
        loss, self._next = self._next, None
        if loss is Loss.DELAY:
            client.close()
            self._deliver.wait(30)
        if loss is not Loss.QUESTION:
            server.sendall(data)
        if loss in {Loss.ANSWER, Loss.DELAY}:
            server.recv(1 << 16)
        return loss is None
