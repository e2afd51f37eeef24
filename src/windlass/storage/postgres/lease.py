"""A lease kept alive from threads of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg

from windlass.kernel.clock import Clock
from windlass.storage.batches import ConnectionLost
from windlass.storage.postgres import sql
from windlass.storage.postgres.clock import ServerClock
from windlass.storage.postgres.wire import Wire

RETRY_SECONDS = 0.2
STOP_SECONDS = 0.5


class LeaseKeeper:
    """Renews a lease each third of its time; see ``engine.ports.Keeper``.

    One thread talks to the database. Another only watches the clock, so that the end is told in time even while
    the first hangs in a connection that went silent.

    Args:
        connect: opens a connection.
        holder: whose lease.
        ttl: seconds a renewal is good for.
        lost: called once, when it could not be renewed in time or the database says it is dead.
        clock: the one clock.
    """

    def __init__(
        self, connect: Callable[[], Wire], holder: str, ttl: float, lost: Callable[[], None], clock: Clock
    ) -> None:
        self._connect = connect
        self._holder = holder
        self._ttl = ttl
        self._lost = lost
        self._clock = clock
        self._wire: Wire | None = None
        self._renewed = False
        self._over = threading.Event()
        self._once = threading.Lock()
        self._valid_until = clock.monotonic() + ttl
        self._threads = [
            threading.Thread(target=self._renew, name="windlass-lease", daemon=True),
            threading.Thread(target=self._watch, name="windlass-lease-watch", daemon=True),
        ]

    @property
    def valid_until(self) -> float:
        """Monotonic time up to which the lease holds for sure."""
        return self._valid_until

    def start(self) -> None:
        """Begin to renew; the row may still be on its way."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Renew no more; a renewal under way to a server that does not answer is not waited for."""
        self._over.set()
        for thread in self._threads:
            thread.join(STOP_SECONDS)

    def _renew(self) -> None:
        pause = self._ttl / 3
        while not self._over.wait(pause):
            asked = self._clock.monotonic()
            state = self._beat()
            if state == "live":
                self._valid_until = asked + self._ttl
                pause = self._ttl / 3
            elif state is None:
                pause = min(RETRY_SECONDS, self._ttl / 10)
            else:
                self._lose()
        if self._wire is not None:
            self._wire.close()

    def _beat(self) -> str | None:
        """Renew; returns the state of the lease, or None when it is not there yet or nobody can tell.

        One that was there and is no more has been taken over.
        """
        try:
            if self._wire is None:
                self._wire = self._connect()
            asked = self._clock.monotonic()
            renewed = self._wire.ask(sql.RENEW, self._holder, str(self._ttl))
            found = [] if renewed else self._wire.ask(sql.LEASE_STATE, self._holder)
        except (ConnectionLost, psycopg.Error):
            if self._wire is not None:
                self._wire.close()
                self._wire = None
            return None
        if renewed:
            if isinstance(self._clock, ServerClock):
                self._clock.compare(renewed[0][0], asked)
            self._renewed = True
            return "live"
        if not found:
            return "forgotten" if self._renewed else None
        return str(found[0][0]) if found[0][0] != "live" else None

    def _watch(self) -> None:
        while not self._over.wait(max(0.0, self._valid_until - self._clock.monotonic())):
            if self._clock.monotonic() >= self._valid_until:
                self._lose()

    def _lose(self) -> None:
        with self._once:
            if not self._over.is_set():
                self._over.set()
                self._lost()
