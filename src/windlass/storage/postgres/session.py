"""A connection that writes to PostgreSQL."""

from __future__ import annotations

import threading
from typing import NamedTuple

import psycopg
import sqlalchemy as sa

from windlass.engine.errors import TransactionLost, UnknownCommit
from windlass.kernel.ids import new_id
from windlass.storage.batches import ConnectionLost
from windlass.storage.postgres import sql
from windlass.storage.postgres.connect import alchemy_engine, connect
from windlass.storage.postgres.hints import Hints
from windlass.storage.postgres.transaction import PostgresTransaction
from windlass.storage.postgres.wire import Wire, is_away
from windlass.storage.urls import DatabaseUrl

SETTLE_PAUSE = 0.02
SETTLE_LOOKS = 100
"""How often a server process that should leave is looked for before the question is given back."""


class _Link(NamedTuple):
    """A connection, SQLAlchemy's view of it, and the server process at its other end: id and start."""

    wire: Wire
    view: sa.Connection
    backend: tuple[int, str]


class PostgresSession:
    """A ``WriteSession``: connects when it first begins, and again by itself whenever the connection was lost.

    Args:
        url: the database.
        idle_seconds: how long the server waits for us inside a transaction before it gives our locks to others.
    """

    inline = False

    def __init__(self, url: DatabaseUrl, idle_seconds: float = sql.IDLE_SECONDS) -> None:
        self._url = url
        self._settings = sql.settings(idle_seconds)
        self._writer = new_id()
        self._hints = Hints()
        self._link: _Link | None = None
        self._tx: PostgresTransaction | None = None
        self._last: tuple[int, str] = (0, "epoch")
        self._doubtful: tuple[int, str] | None = None
        self._fenced = False
        self._never = threading.Event()

    def reserve(self) -> bool:
        """PostgreSQL orders its writers row by row."""
        return True

    def begin(self, marker: int) -> PostgresTransaction:
        """Open a transaction; the server hears of it with its first question, or with the commit.

        Raises:
            ConnectionLost: the server cannot be reached.
        """
        if self._link is not None and not self._link.wire.alive():
            self._drop()
        link = self._open()
        self._tx = PostgresTransaction(link.wire, link.view, self._hints, self._writer, marker)
        return self._tx

    def commit(self) -> None:
        """Commit durably.

        Raises:
            UnknownCommit: the answer was lost; ask ``committed`` before doing anything else.
            ConnectionLost: nothing is on disk, and the same may be tried again.
            TransactionLost: nothing is on disk, because an error before had gone unnoticed.
            psycopg.Error: nothing is on disk because of this.
        """
        if self._link is None:
            raise ConnectionLost("the connection went away before the commit")
        if self._tx is not None:
            self._tx.close()
        wire = self._link.wire
        if wire.sound and not (wire.changed or wire.pending):
            self.rollback()  # a claim that found nothing, mostly: nobody waits for the disk to say so
            return
        try:
            wire.commit()
        except UnknownCommit:
            raise
        except BaseException:
            self.rollback()
            raise

    def rollback(self) -> None:
        """Give the transaction up; a connection in doubt is closed."""
        if self._link is not None:
            try:
                self._link.wire.rollback()
            except (ConnectionLost, psycopg.Error):
                self._drop()

    def away(self, error: BaseException) -> bool:
        """Say whether an error means that the database could not do it now: it may be tried again."""
        reason: BaseException | None = error
        if isinstance(reason, TransactionLost):
            reason = reason.__cause__
        if isinstance(reason, sa.exc.DBAPIError):
            reason = reason.orig
        return isinstance(reason, ConnectionLost) or (isinstance(reason, psycopg.Error) and is_away(reason))

    def committed(self, marker: int) -> bool:
        """Say whether ``marker`` is on disk, and on the standbys that commits wait for.

        The old server process is asked to leave and waited for. The question is itself a write: once that is
        acknowledged, so is everything before it. It fences a no off, so that what is still on its way through a pooler
        fails when it arrives.

        Raises:
            ConnectionLost: the database cannot say it now; ask again.
        """
        if self._doubtful is None:
            self._drop()
            self._doubtful = self._last
        try:
            wire = self._open().wire
            if not wire.raw.pooled:
                self._see_off(wire, self._doubtful)
            answer = self._read_marker(wire, marker) == marker
        except (ConnectionLost, UnknownCommit, psycopg.Error) as error:
            self._drop()
            raise ConnectionLost(str(error)) from error
        self._doubtful = None
        self._fenced = self._fenced or not answer
        return answer

    def _see_off(self, wire: Wire, old: tuple[int, str]) -> None:
        """Wait until the server process that may still hold our COMMIT is gone; ask it to go.

        One that waits for its standbys is left alone: it would stop waiting for them.

        Raises:
            ConnectionLost: it is still there.
        """
        for _ in range(SETTLE_LOOKS):
            found = wire.ask(sql.OLD_BACKEND, *old)
            if not found:
                return
            if found[0][0] != "SyncRep":
                wire.ask(sql.END_OLD_BACKEND, *old)
            self._never.wait(SETTLE_PAUSE)
        raise ConnectionLost("the last transaction is still at work")

    def _read_marker(self, wire: Wire, asked: int) -> int:
        wire.send(sql.BEGIN)
        if wire.raw.pooled:
            wire.send(sql.POOLED)
        reply = wire.send(sql.SETTLE, self._writer, asked)
        wire.commit()
        marker: int = reply.rows[0][0]
        return marker

    def close(self) -> None:
        """Remove the session's marker, unless it is still to be asked for or fences off; close the connection."""
        self.rollback()
        if self._link is not None and self._doubtful is None and not (self._fenced and self._link.wire.raw.pooled):
            try:
                self._link.wire.ask(sql.UNMARK, self._writer)
            except (ConnectionLost, psycopg.Error):
                self._drop()
        self._drop()

    def _open(self) -> _Link:
        if self._link is None:
            raw = connect(self._url, self._settings, prepare_threshold=None)
            try:
                view = alchemy_engine(lambda: raw, sa.StaticPool).connect()
                wire = Wire(raw)
                if not raw.pooled:
                    wire.send(sql.SAFE_COMMITS)
                pid, start = wire.ask(sql.BACKEND)[0]
            except sa.exc.OperationalError as error:
                raw.close()
                raise ConnectionLost(str(error.orig)) from error
            except BaseException:
                raw.close()
                raise
            raw.owned = True
            sa.event.listen(view.engine, "before_cursor_execute", lambda *_: _open_door(wire))
            self._last = (pid, start)
            self._link = _Link(wire, view, self._last)
        return self._link

    def _drop(self) -> None:
        if self._link is not None:
            link, self._link = self._link, None
            link.wire.close()
            link.view.close()


def _open_door(wire: Wire) -> None:
    """Let SQLAlchemy's next statement through: what is queued goes first."""
    wire.door()
