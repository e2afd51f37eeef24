"""Rows of records on their way out of either database.

Times and JSON leave as text. On SQLite a page of rows leaves as one JSON value: sqlite3 gives the interpreter lock
up at every row it steps over, and under load it takes milliseconds to get it back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from windlass.contexts.records.model import Record
from windlass.contexts.records.tables import records

_ISO = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
_EXACT = float(1 << 53)

Columns = Sequence[sa.ColumnElement[Any]]


def _shown(column: sa.Column[Any], postgres: bool) -> sa.ColumnElement[Any]:
    if column.name in {"created_at", "updated_at", "processed_at"} and postgres:
        return sa.func.to_char(sa.func.timezone("UTC", column), sa.literal_column(f"'{_ISO}'")).label(column.name)
    if column.name in {"payload", "result"} and postgres:
        return sa.cast(column, sa.Text).label(column.name)
    if column.name == "score" and not postgres:
        exact = sa.case((column.is_not(None), sa.func.printf("%!.17g", column)))
        return exact.label("score")
    return column


SQLITE_COLUMNS: Columns = [_shown(column, False) for column in records.c]
POSTGRES_COLUMNS: Columns = [_shown(column, True) for column in records.c]


def is_postgres(connection: sa.Connection) -> bool:
    """Say which of the two databases a connection leads to."""
    return connection.dialect.name == "postgresql"


def columns(postgres: bool) -> Columns:
    """Return the columns of a record in the order of ``Record``."""
    return POSTGRES_COLUMNS if postgres else SQLITE_COLUMNS


def shown(connection: sa.Connection, name: str) -> sa.ColumnElement[Any]:
    """Return one column as ``columns`` has it."""
    return _shown(records.c[name], is_postgres(connection))


def fetch(connection: sa.Connection, statement: sa.Select[Any]) -> list[Sequence[Any]]:
    """Return the rows of a query, on SQLite as one value."""
    if is_postgres(connection):
        return list(connection.execute(statement))
    inner = statement.subquery()
    packed: str = connection.execute(sa.select(sa.func.json_group_array(sa.func.json_array(*inner.c)))).scalar_one()
    rows: list[Sequence[Any]] = orjson.loads(packed)
    return rows


def record(row: Sequence[Any]) -> Record:
    """Return a row of ``columns`` as a record."""
    made = Record(*row)
    if made.score is not None:
        score = float(made.score)
        made.score = int(score) if abs(score) <= _EXACT and score.is_integer() else score
    return made


def get(connection: sa.Connection, record_id: str) -> Record | None:
    """Return a record, or None."""
    statement = sa.select(*columns(is_postgres(connection))).where(records.c.id == record_id)
    row = connection.execute(statement).first()
    return None if row is None else record(row)
