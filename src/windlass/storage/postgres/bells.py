"""Doorbells between processes: LISTEN and NOTIFY on one connection and one thread. Promise 7.

A pooler passes on what is said and nothing of what is heard: who has only such a connection looks once a second.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
from collections.abc import Callable, Iterable

import orjson
import psycopg

from windlass.kernel.clock import Clock
from windlass.storage.batches import RECONNECT_PAUSES, ConnectionLost
from windlass.storage.postgres import sql
from windlass.storage.postgres.wire import Wire
from windlass.storage.rings import HELLO, pieces

_log = logging.getLogger(__name__)

KINDS = ("ready", "ended", "inbox")
COALESCE_SECONDS = 0.003
"""Rings go out no more often than that, all that came meanwhile together."""
KNOWN_SECONDS = 1.0
"""For how long it is believed that somebody else listens, or nobody."""
LISTEN_SECONDS = 2.0
_REMEDY = "name the database's own address in DATABASE_DIRECT_URL"


class Bells:
    """Rings the other processes, and hears them while somebody listens here.

    Args:
        connect: opens a connection.
        clock: the one clock.
    """

    def __init__(self, connect: Callable[[], Wire], clock: Clock) -> None:
        self._connect = connect
        self._clock = clock
        self._lock = threading.RLock()
        self._waiting: set[str] = set()
        self._others_until = 0.0
        self._alone_until = 0.0
        self._holder: str | None = None
        self._hear: Callable[[str], None] | None = None
        self._listening = False
        self._heard_before = False
        self._ready = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._alarm, self._rope = socket.socketpair()
        self._alarm.setblocking(False)
        self._rope.setblocking(False)

    def ring(self, news: Iterable[str]) -> None:
        """Send ``ready``, ``inbox:<holder>``, ``news:<run>`` and the like to who listens, from another thread."""
        if self._clock.monotonic() < self._alone_until:
            return
        with self._lock:
            self._waiting.update(news)
        self._rouse()

    def listen(self, holder: str, hear: Callable[[str], None]) -> None:
        """Call ``hear`` from now on; while the server is away, nothing is heard."""
        with self._lock:
            self._holder, self._hear = holder, hear
            self._heard_before = False
            self._ready.clear()
        self._rouse()
        self._ready.wait(LISTEN_SECONDS)

    def mute(self) -> None:
        """Call nobody any more."""
        with self._lock:
            self._holder = self._hear = None
        self._rouse()

    def close(self) -> None:
        """Send what waits, unless the server is away, and end."""
        self._closing = True
        if self._thread is not None:
            self._rouse()
            self._thread.join()
        self._alarm.close()
        self._rope.close()

    def _rouse(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="windlass-doorbell", daemon=True)
                self._thread.start()
        try:
            self._rope.send(b"!")
        except BlockingIOError:
            return

    def _run(self) -> None:
        wire: Wire | None = None
        tries = 0
        while True:
            try:
                if wire is None and (self._hear is not None or self._waiting):
                    self._listening = False
                    wire = self._connect()
                if wire is not None:
                    self._turn(wire)
                    tries = 0
            except (ConnectionLost, psycopg.Error):
                if wire is not None:
                    wire.close()
                    wire = None
                self._sleep(None, RECONNECT_PAUSES[min(tries, len(RECONNECT_PAUSES) - 1)])
                tries += 1
            if self._closing:
                break
            if wire is None and self._hear is None and not self._waiting:
                self._sleep(None, None)
        if wire is not None:
            wire.close()

    def _turn(self, wire: Wire) -> None:
        """Say and hear what there is, then wait for more."""
        if self._listening != (self._hear is not None):
            self._register(wire)
        elif self._listening:
            self._ready.set()
        sent = self._say(wire)
        self._take(wire)
        if not self._closing:
            if sent:
                self._pause()
            self._sleep(wire, None)
        if self._closing:
            self._say(wire)

    def _register(self, wire: Wire) -> None:
        self._listening = not self._listening
        if wire.raw.pooled:
            self._ready.set()
            if self._listening and not self._heard_before:
                _log.warning("a pooler keeps doorbells away: what others start is seen once a second; %s", _REMEDY)
            self._heard_before = self._listening
            return
        for statement in sql.LISTEN if self._listening else sql.UNLISTEN:
            wire.send(statement)
        if self._listening:
            wire.send(sql.NOTIFY, orjson.dumps([HELLO]))
        wire.settle()
        self._ready.set()
        if self._listening and self._heard_before:
            self._tell([*KINDS, HELLO])
        self._heard_before = self._listening

    def _say(self, wire: Wire) -> bool:
        with self._lock:
            news, self._waiting = self._waiting, set()
        if not news:
            return False
        now = self._clock.monotonic()
        if now >= self._others_until:
            if not wire.ask(sql.LISTENERS):
                self._alone_until = now + KNOWN_SECONDS
                return False
            self._others_until = now + KNOWN_SECONDS
        wire.ask(sql.NOTIFY, orjson.dumps(list(pieces(sorted(news)))))
        return True

    def _take(self, wire: Wire) -> None:
        for pid, payload in wire.heard():
            if pid == wire.pid:
                continue
            self._alone_until = 0.0
            self._tell(payload.split(","))

    def _tell(self, news: Iterable[str]) -> None:
        with self._lock:
            for item in news:
                kind, _, holder = item.partition(":")
                if self._hear is not None and (kind != "inbox" or holder in {"", self._holder}):
                    self._hear("inbox" if kind == "inbox" else item)

    def _pause(self) -> None:
        """Let some time pass so that rings gather."""
        poll = select.poll()
        poll.poll(COALESCE_SECONDS * 1000)

    def _sleep(self, wire: Wire | None, seconds: float | None) -> None:
        """Wait until somebody rings, here or there, but not longer than ``seconds``."""
        poll = select.poll()
        poll.register(self._alarm, select.POLLIN)
        if wire is not None:
            poll.register(wire.fileno, select.POLLIN)
        poll.poll(None if seconds is None else seconds * 1000)
        try:
            self._alarm.recv(4096)
        except BlockingIOError:
            return
