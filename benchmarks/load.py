"""A lean HTTP/1.1 load generator: kept-alive sockets, one request in flight on each, one epoll loop.

It parses no more of an answer than its length and status, so that on one core it asks far more than a Python
server can answer; ``Report.busy`` tells whether that held.
"""

from __future__ import annotations

import re
import select
import socket
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PATIENCE = 120
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


@dataclass(frozen=True)
class Report:
    """What a load saw: answers per second, percentiles in milliseconds, how often which status came.

    ``busy`` is the share of one core that the generator itself used; near 1 it was the bottleneck.
    """

    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    statuses: dict[str, int]
    busy: float


def request_bytes(
    port: int, path: str, body: bytes | None = None, method: str = "POST", kind: str = "application/json"
) -> bytes:
    """Return one request as it goes over the wire; ``kind`` is the media type of its body."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    if body is None:
        return (head + "\r\n").encode()
    head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def answer_length(buffer: bytes) -> int | None:
    """Return how many bytes the first answer in the buffer has, or None while it is not whole.

    A chunked answer is taken to be whole when the buffer ends with the last chunk.
    """
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    length = _LENGTH.search(buffer, 0, end + 2)
    if length is not None:
        whole = end + 4 + int(length.group(1))
        return whole if len(buffer) >= whole else None
    if _CHUNKED.search(buffer, 0, end + 2):
        return len(buffer) if buffer.endswith(b"0\r\n\r\n") else None
    return end + 4


class _Connection:
    """One socket and the answer it is waiting for."""

    __slots__ = ("buffer", "sent_at", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.sent_at = 0.0

    def send(self, request: bytes) -> None:
        self.buffer = b""
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> str | None:
        """Take what has arrived; return the status of the answer once it is whole."""
        data = self.socket.recv(262_144)
        if not data:
            raise ConnectionError(f"the server hung up after {self.buffer[:200]!r}")
        self.buffer = self.buffer + data if self.buffer else data
        if answer_length(self.buffer) is None:
            return None
        return self.buffer[9:12].decode()


def fetch(
    port: int, path: str, body: bytes | None = None, method: str = "POST", kind: str = "application/json"
) -> tuple[str, bytes]:
    """Send one request on a connection of its own; return the status and the body of the answer."""
    connection = _Connection(port)
    try:
        connection.send(request_bytes(port, path, body, method, kind))
        status = None
        while status is None:
            status = connection.receive()
        return status, connection.buffer.split(b"\r\n\r\n", 1)[1]
    finally:
        connection.socket.close()


def run(port: int, requests: Sequence[bytes], connections: int) -> Report:
    """Send every request once over that many connections, the next as soon as an answer is whole."""
    pool = {c.socket.fileno(): c for c in (_Connection(port) for _ in range(min(connections, len(requests))))}
    poll = select.epoll()
    statuses: Counter[str] = Counter()
    latencies: list[float] = []
    waiting = iter(requests)
    clock, cpu = time.perf_counter(), time.process_time()
    for number, connection in pool.items():
        poll.register(number, select.EPOLLIN)
        connection.send(next(waiting))
    while len(latencies) < len(requests):
        ready = poll.poll(_PATIENCE)
        if not ready:
            raise TimeoutError(f"no answer for {_PATIENCE} s after {len(latencies)} of {len(requests)}")
        for number, _ in ready:
            connection = pool[number]
            status = connection.receive()
            if status is None:
                continue
            latencies.append(time.perf_counter() - connection.sent_at)
            statuses[status] += 1
            following = next(waiting, None)
            if following is not None:
                connection.send(following)
    seconds, busy = time.perf_counter() - clock, time.process_time() - cpu
    poll.close()
    for connection in pool.values():
        connection.socket.close()
    return _report(latencies, statuses, seconds, busy)


def _report(latencies: list[float], statuses: Counter[str], seconds: float, busy: float) -> Report:
    cuts = statistics.quantiles(latencies, n=100) if len(latencies) > 1 else latencies * 99
    return Report(
        per_second=len(latencies) / seconds,
        p50_ms=cuts[49] * 1000,
        p95_ms=cuts[94] * 1000,
        p99_ms=cuts[98] * 1000,
        statuses=dict(statuses),
        busy=busy / seconds,
    )
