"""A SQLite database as a backend: reads on a pool of connections, leases as file locks, doorbells as sockets."""

from __future__ import annotations

import math
import os
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from windlass.engine.ports import Ring
from windlass.kernel.clock import Clock, SystemClock
from windlass.kernel.errors import Unavailable
from windlass.storage.lite import in_words
from windlass.storage.queries import SqlReader, leases
from windlass.storage.rings import HELLO, MAX_PAYLOAD, pieces, spoken
from windlass.storage.sqlite.folder import RunFolder, hang_bell, ring_bell
from windlass.storage.sqlite.session import SqliteSession, connect

T = TypeVar("T")

_AWAY = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
"""Errors of the file and its disk, which asking better cannot help."""


class FileLease:
    """A lease that lasts as long as its process."""

    valid_until = math.inf


class SqliteBackend:
    """One database file shared by any number of processes on this machine."""

    name = "sqlite"
    own_transactions = False
    deaths = fleet = "1"  # files tell who is dead, and nobody comes from far

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.folder = RunFolder(self.path)
        self._holder: str | None = None
        self.reader = SqlReader(self)
        self.engine = sa.create_engine(
            "sqlite://",
            creator=self._reader,
            poolclass=sa.QueuePool,
            pool_size=8,
            max_overflow=24,
            isolation_level="AUTOCOMMIT",
            pool_reset_on_return=None,
        )

    def _reader(self) -> sqlite3.Connection:
        raw = connect(str(self.path))
        raw.execute("PRAGMA query_only = ON")
        return raw

    def write_session(self) -> SqliteSession:
        return SqliteSession(self.path, self.folder)

    def dead_holders(self, connection: sa.Connection) -> list[str]:
        return [holder for holder, state in leases(connection) if state != "live" or self.folder.holder_is_dead(holder)]

    def lease_holds(self, connection: sa.Connection, holder: str) -> bool:
        return (holder, "live") in leases(connection)

    def agree(self) -> Clock:
        return SystemClock()

    def read(self, fn: Callable[[sa.Connection], T]) -> T:
        """Run ``fn`` with a read-only connection.

        Raises:
            Unavailable: the file or its disk cannot be read now.
        """
        try:
            with self.engine.connect() as connection:
                return fn(connection)
        except sa.exc.DatabaseError as error:
            if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _AWAY:
                raise Unavailable(f"the database is not available: {in_words(error.orig)}") from error
            raise

    @contextmanager
    def keep_lease(self, holder: str, ttl: float, lost: Callable[[], None]) -> Iterator[FileLease]:  # noqa: ARG002  a file lock neither expires nor gets lost
        descriptor = self.folder.lock_holder(holder)
        try:
            yield FileLease()
        finally:
            os.close(descriptor)
            self.folder.forget_holder(holder)

    @contextmanager
    def listen(self, holder: str, ring: Callable[[str], None]) -> Iterator[None]:
        path = self.folder.bell(holder)
        self._holder = holder
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
            hang_bell(bell, path)
            thread = threading.Thread(target=_hear, args=(bell, ring), name="windlass-doorbell", daemon=True)
            thread.start()
            for other in self.folder.others(holder):
                ring_bell(other, HELLO.encode())
            try:
                yield
            finally:
                self._holder = None
                bell.shutdown(socket.SHUT_RDWR)
                thread.join()
                path.unlink(missing_ok=True)

    def ring(self, rings: Sequence[Ring]) -> None:
        others = self.folder.others(self._holder)
        if not others:
            return
        kinds = {spoken(ring) for ring in rings if ring.kind != "inbox"}
        holders = {ring.holder for ring in rings if ring.kind == "inbox"}
        for path in others:
            news = kinds | {"inbox"} if path.stem in holders else kinds
            for piece in pieces(sorted(news)):
                ring_bell(path, piece.encode())

    def sweep(self, holder: str) -> None:
        if self.folder.holder_is_dead(holder):
            self.folder.forget_holder(holder)

    def close(self) -> None:
        self.engine.dispose()


def _hear(bell: socket.socket, ring: Callable[[str], None]) -> None:
    while True:
        try:
            message = bell.recv(2 * MAX_PAYLOAD)
        except OSError:
            return
        if not message:
            return
        for kind in message.decode().split(","):
            ring(kind)
