"""Transactions on a sqlite3 connection: what the SQLite file and the memory backend's SQLite share."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
import sqlalchemy as sa

from windlass.engine.errors import TransactionLost

_STEPS_BETWEEN_LOOKS = 20_000
"""How many virtual machine instructions pass between two looks at the clock."""

_AWAY = ("disk I/O error", "database or disk is full", "unable to open database file", "database is locked")


def alchemy_view(raw: sqlite3.Connection) -> sa.Connection:
    """Return a SQLAlchemy connection over ``raw``; transactions stay the owner's.

    Make it before the first transaction: SQLAlchemy ends whatever is open when it meets a connection.
    """
    engine = sa.create_engine(
        "sqlite://",
        creator=lambda: raw,
        poolclass=sa.StaticPool,
        pool_reset_on_return=None,
        isolation_level="AUTOCOMMIT",
    )
    view = engine.connect()

    @sa.event.listens_for(engine, "before_cursor_execute")
    def look(*_: object) -> None:
        check_open(raw)

    return view


def check_open(raw: sqlite3.Connection) -> None:
    """Refuse to go on when SQLite has given the whole transaction up.

    It does so when a write is interrupted, or the disk is full; a statement after that would commit by itself.

    Raises:
        TransactionLost: nothing of the transaction is left.
    """
    if not raw.in_transaction:
        raise TransactionLost("SQLite gave up the transaction")


def execute(
    raw: sqlite3.Connection, sql: str, params: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ()
) -> sqlite3.Cursor:
    """Run a statement inside the open transaction, once or once for each mapping."""
    check_open(raw)
    if params and not isinstance(params, Mapping):
        return raw.executemany(sql, params)
    return raw.execute(sql, params)


def insert_rows(
    raw: sqlite3.Connection, table: sa.Table, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    """Insert rows with one statement: they travel as one JSON parameter."""
    if rows:
        values = ",".join(f"value->>{place}" for place in range(len(columns)))
        sql = f"INSERT INTO {table.name} ({','.join(columns)}) SELECT {values} FROM json_each(:rows)"
        execute(raw, sql, {"rows": orjson.dumps(rows).decode()})


def is_away(error: BaseException | None) -> bool:
    """Say whether an error means that the database cannot be written now: its disk is full, its file out of reach."""
    if isinstance(error, sa.exc.OperationalError):
        error = error.orig
    return isinstance(error, sqlite3.OperationalError) and str(error).startswith(_AWAY)


def in_words(error: BaseException | None) -> str:
    """Return what is wrong with the database as an operator understands it."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
        return "another program holds the file"
    return str(error)


@contextmanager
def savepoint(raw: sqlite3.Connection, name: str, seconds: float | None) -> Iterator[None]:
    """Open a savepoint; an exception inside rolls back to it, and so does a statement still running after ``seconds``.

    Raises:
        TransactionLost: not only the savepoint is gone but the whole transaction, or it must be given up.
    """
    check_open(raw)
    raw.execute(f"SAVEPOINT {name}")
    if seconds is not None:
        deadline = time.monotonic() + seconds
        raw.set_progress_handler(lambda: int(time.monotonic() > deadline), _STEPS_BETWEEN_LOOKS)
    try:
        try:
            yield
        finally:
            if seconds is not None:
                raw.set_progress_handler(None, 0)
        check_open(raw)
        raw.execute(f"RELEASE {name}")
    except TransactionLost:
        raise
    except BaseException as error:
        _roll_back_to(raw, name, error)
        raise


def _roll_back_to(raw: sqlite3.Connection, name: str, error: BaseException) -> None:
    """Undo what a savepoint holds; a trouble of the database is nobody's own, so everything is written anew."""
    if isinstance(error, Exception) and (not raw.in_transaction or is_away(error)):
        raise TransactionLost("SQLite gave up the transaction") from error
    if raw.in_transaction:
        try:
            raw.execute(f"ROLLBACK TO {name}")
            raw.execute(f"RELEASE {name}")
        except sqlite3.Error as failure:
            raise TransactionLost("SQLite could not take a savepoint back") from failure
