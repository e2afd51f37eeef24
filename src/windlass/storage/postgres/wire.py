"""One PostgreSQL connection on which statements travel together.

Statements are queued, sent at once and answered at once, so a batch costs two round trips however many statements
it has. psycopg's own pipeline gives the interpreter lock up at every statement, and a busy event loop takes
milliseconds to hand it back; this stands on psycopg's libpq layer and gives it up once for each answer it waits for.

Statements are prepared once, except through a pooler: the next transaction may find a process that knows none of them.
"""

from __future__ import annotations

import select
from itertools import count
from typing import Any

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq.abc import PGresult

from windlass.engine.errors import TransactionLost, UnknownCommit
from windlass.storage.batches import ConnectionLost
from windlass.storage.postgres.connect import OwnedConnection
from windlass.storage.postgres.sql import PLAN

Value = str | bytes | int | None

REPLY_SECONDS = 30.0
"""A server silent for so long is taken for lost; user code's own statements may take longer."""
_OK = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)
_INTRANS = (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR)
_AWAY = ("08", "25006", "25P03", "25P04", "26000", "53", "57P", "58")
"""Connection, a server become read-only, sat idle for too long, statements forgotten, no room, shut down, disk."""
_AGAIN = frozenset({"40001", "40P01", "55P03"})
"""Serialization, deadlock, a lock not to be had: the connection is sound, the same work may pass next time."""
_NOT_REPLICATED = "SyncRepWaitForLSN"
"""The server's function that gives up waiting for its standbys; the warning's text depends on the language."""


class Reply:
    """The answer to a queued statement, there once the wire has settled."""

    __slots__ = ("rows", "tag")

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.tag = b""


class _Cut(Exception):
    """The connection broke while answers were read; ``results`` came before."""

    def __init__(self, results: list[PGresult], message: str) -> None:
        super().__init__(message)
        self.results = results


class _Silence(psycopg.OperationalError):
    """The server says nothing; asking libpq for more would wait for it."""


class Wire:
    """Queues statements and settles them in one round trip.

    Args:
        raw: the connection; nobody else may use it meanwhile, but through ``door``.
        patience: seconds to wait for an answer.

    ``planned`` says whether the planner has our settings; None: nobody knows. ``changed`` is set with the first row
    that is written, and when user code has had the connection.
    """

    def __init__(self, raw: OwnedConnection, patience: float = REPLY_SECONDS) -> None:
        self.raw = raw
        self.trips = 0
        self._pg = raw.pgconn
        self._patience = patience
        self._queue: list[tuple[str, tuple[Value, ...], Reply]] = []
        self._names: dict[str, bytes] = {}
        self._numbers = count(1)
        self._loader = Transformer(raw)
        self._poll = select.poll()
        self._poll.register(self._pg.socket, select.POLLIN)
        self.planned: bool | None = True
        self._warnings: set[str] = set()
        self._spoiled = self.changed = False
        raw.add_notice_handler(self._notice)

    @property
    def pending(self) -> int:
        """How many statements are queued."""
        return len(self._queue)

    @property
    def in_transaction(self) -> bool:
        """Whether the server has an open transaction for us, sound or failed."""
        return self._pg.transaction_status in _INTRANS

    @property
    def sound(self) -> bool:
        """Whether it has one in which nothing has failed."""
        return self._pg.transaction_status == pq.TransactionStatus.INTRANS

    @property
    def fileno(self) -> int:
        """What to poll for notifications."""
        return self._pg.socket

    @property
    def pid(self) -> int:
        """The process at the other end, as notifications name it."""
        return self._pg.backend_pid

    @property
    def lost(self) -> bool:
        """Whether the connection is of no more use."""
        return self._spoiled or self._pg.status != pq.ConnStatus.OK

    def alive(self) -> bool:
        """Say whether the server still talks to us, as far as can be told without asking."""
        try:
            self._pg.consume_input()
            self._pg.consume_input()
        except psycopg.OperationalError:
            return False
        return not self.lost

    def send(self, sql: str, *params: Value) -> Reply:
        """Queue a statement of ours with ``$1`` parameters; an error shows when the wire settles."""
        if not self.planned:
            self.plan(PLAN, ours=True)
        return self._put(sql, *params)

    def plan(self, sql: str, *params: Value, ours: bool) -> None:
        """Queue a statement that gives the planner our settings, or user code's; ``$1`` says which."""
        self._put(sql, "off" if ours else "on", *params)
        self.planned = ours

    def _put(self, sql: str, *params: Value) -> Reply:
        reply = Reply()
        self._queue.append((sql, params, reply))
        return reply

    def ask(self, sql: str, *params: Value) -> list[tuple[Any, ...]]:
        """Send everything queued and this statement, and return its rows."""
        reply = self.send(sql, *params)
        self.settle()
        return reply.rows

    def forget(self, keep: int, planned: bool | None) -> None:
        """Drop queued statements beyond the first ``keep``, when the planner's settings were such."""
        del self._queue[keep:]
        self.planned = planned

    def settle(self) -> None:
        """Send what is queued and read its answers.

        Raises:
            ConnectionLost: the connection or the transaction is gone, or the work may simply be tried again.
            psycopg.Error: the first statement that failed; those after it did nothing.
        """
        if not self._queue:
            return
        queue, self._queue = self._queue, []
        try:
            sent = self._send(queue)
        except psycopg.OperationalError as error:
            raise ConnectionLost(str(error)) from error
        try:
            results = self._exchange()
        except _Cut as cut:
            self._read(sent, cut.results)
            raise ConnectionLost(str(cut)) from cut
        self._read(sent, results)

    def commit(self) -> None:
        """Send what is queued and commit.

        Raises:
            UnknownCommit: the answer was lost, or standbys may lack what is on this disk.
            ConnectionLost: nothing is on disk and the work may be tried again.
            psycopg.Error: nothing is on disk because of this.
        """
        queue, self._queue = self._queue, []
        self._warnings.clear()
        try:
            sent = self._send(queue)
        except psycopg.OperationalError as error:
            raise ConnectionLost(str(error)) from error
        commit = Reply()
        try:
            sent += self._send([("COMMIT", (), commit)])
        except psycopg.OperationalError as error:
            raise UnknownCommit(str(error)) from error
        try:
            results = self._exchange()
        except _Cut as cut:
            self._read(sent[:-1], cut.results)
            raise UnknownCommit(str(cut)) from cut
        self.planned = True
        try:
            self._read(sent, results)
        except psycopg.Error as error:
            if error.diag.severity_nonlocalized in {"FATAL", "PANIC"} or error.sqlstate == "40003":
                raise UnknownCommit(str(error)) from error
            raise
        if commit.tag != b"COMMIT":
            raise TransactionLost("a statement had failed unnoticed, so that the commit became a rollback")
        if "25P01" in self._warnings:
            raise TransactionLost("the transaction had been ended by somebody else")
        if _NOT_REPLICATED in self._warnings:
            raise UnknownCommit("committed locally, might not have been replicated")

    def rollback(self) -> None:
        """Drop what is queued and end the transaction without it.

        Raises:
            ConnectionLost: the connection went with it.
        """
        self._queue.clear()
        self.planned = True
        if self.lost:
            raise ConnectionLost("the connection is gone")
        if self.in_transaction:
            self.ask("ROLLBACK")

    def take_back(self, savepoint: str) -> None:
        """Roll back to a savepoint and drop it, and with it whatever planner settings were made inside.

        Raises:
            ConnectionLost, psycopg.Error: it could not be done; the whole transaction is void.
        """
        self._queue.clear()
        self._put(f"ROLLBACK TO {savepoint}")
        self._put(f"RELEASE {savepoint}")
        self.planned = None
        self.settle()

    def door(self) -> OwnedConnection:
        """Lend the connection to psycopg or SQLAlchemy, inside the open transaction and with an ordinary planner.

        Raises:
            TransactionLost: there is no open transaction.
        """
        self.changed = True
        if self.planned is not False:
            self.plan(PLAN, ours=False)
        self.settle()
        if not self.in_transaction:
            raise TransactionLost("the transaction is over")
        if self._pg.pipeline_status != pq.PipelineStatus.OFF:
            self._pg.exit_pipeline_mode()
        return self.raw

    def heard(self) -> list[tuple[int, str]]:
        """Return notifications that have arrived: who sent them (a process of the server) and what they say.

        Raises:
            ConnectionLost: the connection is gone.
        """
        if not self.alive():
            raise ConnectionLost("the connection is gone")
        found = []
        while (notice := self._pg.notifies()) is not None:
            found.append((notice.be_pid, notice.extra.decode()))
        return found

    def close(self) -> None:
        """Close the connection."""
        self.raw.close()

    def _send(self, queue: list[tuple[str, tuple[Value, ...], Reply]]) -> list[tuple[str, Reply | None]]:
        """Hand statements to libpq; returns what will be answered, in order."""
        pg = self._pg
        if pg.pipeline_status == pq.PipelineStatus.OFF:
            pg.enter_pipeline_mode()
        sent: list[tuple[str, Reply | None]] = []
        for sql, params, reply in queue:
            if self.raw.pooled:
                values = [_encoded(value) for value in params]
                pg.send_query_params(sql.encode(), values, result_format=pq.Format.BINARY)
                sent.append((sql, reply))
                continue
            name = self._names.get(sql)
            if name is None:
                name = self._names[sql] = b"w%d" % next(self._numbers)
                pg.send_prepare(name, sql.encode())
                sent.append((sql, None))
            pg.send_query_prepared(name, [_encoded(value) for value in params], None, pq.Format.BINARY)
            sent.append((sql, reply))
        return sent

    def _exchange(self) -> list[PGresult]:
        """Wait until everything handed to libpq is answered.

        libpq is asked whether it is busy once for each answer and not for the empty one that follows it: psycopg
        gives the interpreter lock up there.
        """
        pg = self._pg
        results: list[PGresult] = []
        self.trips += 1
        try:
            pg.pipeline_sync()
            while pg.flush():
                self._wait(select.POLLIN | select.POLLOUT)
                pg.consume_input()
            while True:
                while pg.is_busy():
                    self._wait(select.POLLIN)
                    pg.consume_input()
                result = pg.get_result()
                if result is None:
                    raise psycopg.OperationalError("the connection is gone")
                if result.status == pq.ExecStatus.PIPELINE_SYNC:
                    return results
                results.append(result)
                pg.get_result()
        except psycopg.OperationalError as error:
            if not isinstance(error, _Silence):
                results.extend(self._rest())
            self.raw.close()
            raise _Cut(results, str(error)) from error
        except BaseException:
            self.raw.close()
            raise

    def _rest(self) -> list[PGresult]:
        """Return what had arrived before the connection broke."""
        results: list[PGresult] = []
        gaps = 0
        while gaps < 2:
            result = self._pg.get_result()
            if result is None:
                gaps += 1
            else:
                gaps = 0
                results.append(result)
        return results

    def _wait(self, events: int) -> None:
        self._poll.modify(self._pg.socket, events)
        if not self._poll.poll(self._patience * 1000):
            raise _Silence(f"no answer for {self._patience:g} seconds")

    def _read(self, sent: list[tuple[str, Reply | None]], results: list[PGresult]) -> None:
        """Fill the replies; raises what the server said about the first statement that failed."""
        failure: Exception | None = None
        for (sql, reply), result in zip(sent, results, strict=False):
            if result.status in _OK:
                if reply is not None:
                    self._fill(reply, result)
                continue
            if reply is None:
                del self._names[sql]
            if failure is None and result.error_field(pq.DiagnosticField.SQLSTATE) is not None:
                failure = self._failure(result)
        if failure is not None:
            raise failure

    def _failure(self, result: PGresult) -> Exception:
        error = error_from_result(result)
        self._spoiled = self._spoiled or (error.sqlstate or "").startswith(_AWAY)
        if is_away(error):
            lost = ConnectionLost(str(error))
            lost.__cause__ = error
            return lost
        return error

    def _fill(self, reply: Reply, result: PGresult) -> None:
        reply.tag = result.command_status or b""
        if result.command_tuples and not reply.tag.startswith(b"SELECT"):
            self.changed = True
        if result.ntuples:
            self._loader.set_pgresult(result)
            reply.rows = self._loader.load_rows(0, result.ntuples, tuple)

    def _notice(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        self._warnings.update((diagnostic.sqlstate or "", diagnostic.source_function or ""))


def is_away(error: psycopg.Error) -> bool:
    """Say whether the database could not do it now, so that the same may pass later."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate.startswith(_AWAY) or error.sqlstate in _AGAIN


def _encoded(value: Value) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return str(value).encode()
