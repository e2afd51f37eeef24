"""The cable between a host and its server: a TCP proxy that loses one direction or both, until it is mended.

What is sent meanwhile stays in the buffers of the kernel and goes on when the cable is mended, as TCP sends again what
was lost: a COMMIT may so come to the server long after its sender was given up. Nobody is told of anything: connections
are neither refused nor reset.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from enum import Flag, auto
from urllib.parse import urlsplit, urlunsplit

_CHUNK = 1 << 16
_HEAD = 5
_SECRETLY = b"?\0\0\0\x08"
"""The question for a secret connection, after which the first message comes."""
_STATEMENTS = b"QE"
"""A question in one message, and the execution of one that was prepared."""


class Way(Flag):
    """Directions, as the host sees them."""

    TO_SERVER = auto()
    FROM_SERVER = auto()
    BOTH = TO_SERVER | FROM_SERVER


class Cable:
    """Carries what comes to a listening socket to a server; ``statements`` counts what is asked of a PostgreSQL.

    Args:
        listener: where the host connects to; a socket belongs to the network it was made in, whoever accepts from it.
        server: host and port.
    """

    def __init__(self, listener: socket.socket, server: tuple[str, int]) -> None:
        self.statements = 0
        self._said: dict[socket.socket, bytearray] = {}
        self._listener = listener
        self._server = server
        self._lost = Way(0)
        self._selector = selectors.DefaultSelector()
        self._ends: dict[socket.socket, tuple[socket.socket, Way]] = {}
        self._rope, self._alarm = socket.socketpair()
        self._closing = False
        self._rope.send(b"!")
        self._thread = threading.Thread(target=self._carry, name="cable", daemon=True)
        self._thread.start()

    def url(self, url: str) -> str:
        """Return the address of a database behind this cable."""
        parts = urlsplit(url)
        credentials = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{credentials}@127.0.0.1:{self._listener.getsockname()[1]}"))

    def cut(self, way: Way = Way.BOTH) -> None:
        """Lose what goes this way, and connections that are begun."""
        self._lost = way
        self._rope.send(b"!")

    def mend(self) -> None:
        """Lose nothing any more."""
        self.cut(Way(0))

    def close(self) -> None:
        """End every connection."""
        self._closing = True
        self._rope.send(b"!")
        self._thread.join()

    def _carry(self) -> None:
        self._selector.register(self._alarm, selectors.EVENT_READ)
        with self._selector, self._listener, self._rope, self._alarm:
            while not self._closing:
                for key, _ in self._selector.select():
                    self._serve(key.fileobj)  # type: ignore[arg-type]
            for end in list(self._ends):
                end.close()

    def _serve(self, end: socket.socket) -> None:
        if end is self._alarm:
            self._alarm.recv(_CHUNK)
            self._choose()
        elif end is self._listener:
            self._connect()
        elif end in self._ends:
            self._pass(end)

    def _choose(self) -> None:
        """Look only at what may go on."""
        wanted = {end for end, (_, way) in self._ends.items() if not way & self._lost}
        if not self._lost:
            wanted.add(self._listener)
        known = {key.fileobj for key in self._selector.get_map().values()} - {self._alarm}
        for end in known - wanted:
            self._selector.unregister(end)
        for end in wanted - known:
            self._selector.register(end, selectors.EVENT_READ)

    def _connect(self) -> None:
        host, _ = self._listener.accept()
        try:
            server = socket.create_connection(self._server)
        except OSError:
            host.close()
            return
        for end in (host, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._said[host] = bytearray(b"?")  # the first message has no kind
        self._ends[host] = (server, Way.TO_SERVER)
        self._ends[server] = (host, Way.FROM_SERVER)
        self._choose()

    def _pass(self, end: socket.socket) -> None:
        other = self._ends[end][0]
        try:
            data = end.recv(_CHUNK)
            if end in self._said:
                self._count(self._said[end], data)
            other.sendall(data)
        except OSError:
            data = b""
        if not data:
            for one in (end, other):
                del self._ends[one]
                self._said.pop(one, None)
                with contextlib.suppress(KeyError):
                    self._selector.unregister(one)
                one.close()

    def _count(self, said: bytearray, data: bytes) -> None:
        """Count statements among the messages that are complete: each is a kind, its length and the rest of it."""
        said += data
        while len(said) >= _HEAD and len(said) > (length := int.from_bytes(said[1:_HEAD], "big")):
            self.statements += said[0] in _STATEMENTS
            said[: length + 1] = b"?" if said[:_HEAD] == _SECRETLY else b""


@contextlib.contextmanager
def cable_to(url: str) -> Iterator[Cable]:
    """Lay a cable to the server of an address, from a port of this machine."""
    parts = urlsplit(url)
    cable = Cable(socket.create_server(("127.0.0.1", 0)), (parts.hostname or "", parts.port or 5432))
    try:
        yield cable
    finally:
        cable.close()
