"""The connection that writes to a SQLite file."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from windlass.engine.errors import TransactionLost, UnknownCommit
from windlass.kernel.errors import ConfigError, Moving
from windlass.kernel.ids import new_id
from windlass.storage.batches import ConnectionLost
from windlass.storage.lite import alchemy_view, in_words, is_away
from windlass.storage.sqlite.folder import RunFolder, TurnLock
from windlass.storage.sqlite.known import KnownHeads
from windlass.storage.sqlite.transaction import SqliteTransaction

MINIMUM_VERSION = (3, 38)
CHECKPOINT_BYTES = 4 * 1024 * 1024
ROOMY_BYTES = 256 * 1024
"""From what size on a WAL is given all the room it will need before its first checkpoint."""
TRUNCATE_BYTES = 32 * 1024 * 1024
RETRY_BYTES = 2 * 1024 * 1024
BUSY_MILLISECONDS = 10_000
READERS_MILLISECONDS = 50


def connect(
    path: str, *, durable: bool = True, factory: type[sqlite3.Connection] = sqlite3.Connection
) -> sqlite3.Connection:
    """Open a file as this backend wants it: WAL, full synchronisation, transactions begun by hand.

    Raises:
        ConfigError: the SQLite library is too old.
    """
    if sqlite3.sqlite_version_info < MINIMUM_VERSION:
        raise ConfigError(f"SQLite {sqlite3.sqlite_version} is too old: 3.38 or newer is needed")
    raw = sqlite3.connect(
        path,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        timeout=BUSY_MILLISECONDS / 1000,
        factory=factory,
        uri=path.startswith("file:"),
    )
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
    raw.execute("PRAGMA temp_store = MEMORY")
    return raw


class SqliteSession:
    """A ``WriteSession``: takes its turn among processes, begins immediately, keeps the WAL small.

    Args:
        path: the file.
        folder: where its processes meet.
        opened: opens a connection.
    """

    def __init__(self, path: Path, folder: RunFolder, opened: Callable[[str], sqlite3.Connection] = connect) -> None:
        self._path = path
        self._opened = opened
        self._folder = folder
        self._wal = Path(f"{path}-wal")
        self._writer = new_id()
        self._turn = TurnLock(folder.path)
        self._raw: sqlite3.Connection | None = None
        self._alchemy: sa.Connection | None = None
        self._open: SqliteTransaction | None = None
        self._known = KnownHeads()
        self._ours = False
        self._patience = BUSY_MILLISECONDS
        self._hasty_thread = 0
        self._mark = CHECKPOINT_BYTES
        self._cramped = False

    inline = True

    def reserve(self) -> bool:
        """Begin already, if nobody is writing: a thread that asks so may not wait.

        Whatever else is wrong, the thread that may wait will meet it too.
        """
        if self._ours:
            return True
        self._hasty_thread = threading.get_ident()
        self._ours = self._turn.try_acquire()
        if self._ours:
            try:
                self._open_transaction()
            except sqlite3.Error:
                self.rollback()
        return self._ours

    def begin(self, marker: int) -> SqliteTransaction:
        alone = self._ours
        if not alone:
            self._turn.acquire()
            self._ours = True
        try:
            raw, view = self._open_transaction()
            self._known.begin(raw)
            raw.execute(
                "INSERT INTO workflow_commits (writer, marker) VALUES (?, ?)"
                " ON CONFLICT (writer) DO UPDATE SET marker = excluded.marker",
                (self._writer, marker),
            )
        except sqlite3.OperationalError as error:
            self.rollback()
            if self.away(error):
                raise ConnectionLost(in_words(error)) from error
            raise
        except sqlite3.IntegrityError as error:
            self.rollback()
            raise Moving(f"{error}: windlass db move has closed it") from error
        self._open = SqliteTransaction(raw, view, self._folder, self._known, alone=alone)
        return self._open

    def _open_transaction(self) -> tuple[sqlite3.Connection, sa.Connection]:
        """Begin, unless ``reserve`` has; a program that is not ours is waited for where that holds nobody up."""
        raw = self._connection()
        view = self._alchemy_view()
        if not raw.in_transaction:
            self._wait_up_to(raw, 0 if threading.get_ident() == self._hasty_thread else BUSY_MILLISECONDS)
            raw.execute("BEGIN IMMEDIATE")
        return raw, view

    def _wait_up_to(self, raw: sqlite3.Connection, milliseconds: int) -> None:
        """Set how long a lock of others is waited for."""
        if milliseconds != self._patience:
            raw.execute(f"PRAGMA busy_timeout = {milliseconds}")
            self._patience = milliseconds

    def commit(self) -> None:
        if self._open is not None and self._open.idle:
            self.rollback()  # a claim that found nothing, mostly: nobody waits for the disk to say so
            return
        raw = self._connection()
        if self._cramped:
            self._make_room()
        try:
            raw.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise UnknownCommit(str(error)) from error
        if self._open is not None:
            self._open.leave()
        try:
            self._checkpoint(raw)
        except sqlite3.OperationalError:
            self._drop()  # the transaction is on disk all the same; whatever is wrong will meet the next one
        self._release()

    def rollback(self) -> None:
        self._known.forget()
        if self._raw is not None and self._raw.in_transaction:
            try:
                self._raw.execute("ROLLBACK")
            except sqlite3.OperationalError:
                self._drop()
        self._release()

    def away(self, error: BaseException) -> bool:
        return is_away(error.__cause__ if isinstance(error, TransactionLost) else error)

    def committed(self, marker: int) -> bool:
        self.rollback()
        self._drop()
        row = (
            self._connection()
            .execute("SELECT marker FROM workflow_commits WHERE writer = ?", (self._writer,))
            .fetchone()
        )
        return row is not None and row[0] == marker

    def close(self) -> None:
        self.rollback()
        if self._raw is not None:
            self._turn.acquire()
            self._ours = True
            try:
                self._raw.execute("DELETE FROM workflow_commits WHERE writer = ?", (self._writer,))
            except sqlite3.Error:
                self._drop()
        self._release()
        self._drop()
        self._turn.close()

    def _connection(self) -> sqlite3.Connection:
        if self._raw is None:
            self._raw = self._opened(str(self._path))
            self._patience = BUSY_MILLISECONDS
            self._raw.execute("PRAGMA wal_autocheckpoint = 0")
        return self._raw

    def _alchemy_view(self) -> sa.Connection:
        """Return a SQLAlchemy view of the same connection; made before the first transaction."""
        if self._alchemy is None:
            self._alchemy = alchemy_view(self._connection())
        return self._alchemy

    def _checkpoint(self, raw: sqlite3.Connection) -> None:
        """Move the WAL into the file when it has outgrown its mark.

        The WAL is begun anew in place: writing over it is quicker to synchronise than letting it grow.

        It is our turn, so no writer is in the way and the next one begins the WAL anew. A reader with an old
        snapshot can keep that from happening; then the mark moves up and it is tried again a little later.
        """
        try:
            size = self._wal.stat().st_size
        except FileNotFoundError:
            return
        self._cramped = ROOMY_BYTES < size < CHECKPOINT_BYTES
        if size <= self._mark:
            return
        if size <= TRUNCATE_BYTES:
            raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._mark = size
            return
        self._wait_up_to(raw, READERS_MILLISECONDS)
        busy = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        self._mark = size + RETRY_BYTES if busy else CHECKPOINT_BYTES

    def _make_room(self) -> None:
        """Let the WAL be as long as it will get, with zeros: then a commit writes over what is there.

        A file that grows has its length and its blocks written too whenever it is synchronised, which takes about as
        long again. The transaction is open, so nobody else writes to the WAL. SQLite takes zeros for the end of it.
        """
        self._cramped = False
        try:
            with self._wal.open("ab") as log:
                log.write(bytes(max(CHECKPOINT_BYTES - log.tell(), 0)))
        except OSError:
            return  # the disk is full: what there is to write may fit all the same

    def _release(self) -> None:
        if self._ours:
            self._ours = False
            self._turn.release()

    def _drop(self) -> None:
        if self._alchemy is not None:
            self._alchemy.close()
            self._alchemy = None
        if self._raw is not None:
            self._raw.close()
            self._raw = None
            self._known = KnownHeads()


def fetch(raw: sqlite3.Connection, sql: str, params: Sequence[Any] = ()) -> list[Any]:
    """Run a query and return its rows."""
    return raw.execute(sql, params).fetchall()
