"""The PostgreSQL database an installation moves into: filled in one transaction, which also says that it is whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import psycopg
from psycopg import sql as composed

from windlass.kernel.errors import Conflict, Invalid, Unavailable
from windlass.storage.batches import ConnectionLost
from windlass.storage.moving.marks import PLACE, Lost, Mark
from windlass.storage.moving.shapes import Row, Shape, line
from windlass.storage.postgres import sql
from windlass.storage.postgres.connect import OwnedConnection, connect
from windlass.storage.urls import DatabaseUrl

BYTES = 256 * 1024
"""Of rows in one message to the server."""
MOVE_LOCK = 7_229_180_645
SETTINGS = {
    "idle_in_transaction_session_timeout": "0",
    "statement_timeout": "0",
    "lock_timeout": "10s",
    "jit": "off",
    "maintenance_work_mem": "256MB",
}
_NOW = "to_timestamp(%s / 1000000) + (%s %% 1000000) * interval '1 microsecond'"


def _ident(name: str) -> composed.Identifier:
    return composed.Identifier(name)


class Arrival:
    """The new database. Use it as a context manager; what was not finished is undone when it is left.

    Args:
        url: its address.

    Raises:
        Unavailable: it cannot be reached.
        ConfigError: it is too old, or not in UTF-8.
    """

    def __init__(self, url: DatabaseUrl) -> None:
        self.url = url
        try:
            self._raw: OwnedConnection = connect(url, SETTINGS, alone_for="a move")
        except ConnectionLost as error:
            raise Unavailable(f"the database {url} cannot be reached: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Say plainly that the server went away, waits for somebody, or refuses a value.

        Raises:
            Unavailable: it does not answer, or somebody holds a lock on what is to be filled.
            Invalid: it cannot hold a value; says of which table and line.
        """
        try:
            yield
        except psycopg.errors.LockNotAvailable as error:
            raise Unavailable(f"somebody uses the tables of {self.url}: end what is connected to it") from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise Unavailable(f"the database {self.url} went away: {' '.join(str(error).split())}") from error
        except psycopg.DataError as error:
            raise Invalid(
                f"PostgreSQL cannot hold a value: {error.diag.message_primary}; {error.diag.context}. Nothing was"
                " moved: change the value in the old database, or delete its row, and give the command again"
            ) from error

    def _all(self, statement: str, params: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        cursor = self._raw.execute(statement, params or None)
        return cursor.fetchall() if cursor.description else []

    # looking
    def alone(self) -> None:
        """Make sure that this is the only move into the database.

        Raises:
            Conflict: another one is at work.
        """
        if not self._all("SELECT pg_try_advisory_lock(%s)", (MOVE_LOCK,))[0][0]:
            raise Conflict(f"another `windlass db move` to {self.url} is at work: wait for it")

    def mark(self) -> Mark | None:
        """Return the mark of a move; None also where there are no tables at all."""
        if not self._all("SELECT to_regclass('database_moves') IS NOT NULL")[0][0]:
            return None
        found = self._all("SELECT state, move_id, other, at::text FROM database_moves")
        return Mark(*found[0]) if found else None

    def holding(self, shapes: Iterable[Shape]) -> dict[str, int]:
        """Return how many rows there are, by table, of tables that are not empty; leases count as rows."""
        found: dict[str, int] = {}
        for name in [shape.name for shape in shapes] + ["workflow_leases"]:
            query = composed.SQL("SELECT EXISTS (SELECT 1 FROM {})").format(_ident(name))
            if self._raw.execute(query).fetchone() == (True,):
                found[name] = self.count(name)
        return found

    def leases(self) -> int:
        """Return how many processes have a lease."""
        return int(self._all("SELECT count(*) FROM workflow_leases")[0][0])

    def count(self, table: str) -> int:
        """Return how many rows a table has."""
        row = self._raw.execute(composed.SQL("SELECT count(*) FROM {}").format(_ident(table))).fetchone()
        return int(row[0]) if row else 0

    # the mark
    def put_mark(self, state: str, move_id: str, other: str, now: int) -> None:
        """Mark the database; inside a transaction that is open, else at once."""
        self._all(
            f"INSERT INTO database_moves (place, state, move_id, other, at) VALUES (%s, %s, %s, %s, {_NOW})"
            " ON CONFLICT (place) DO UPDATE SET state = excluded.state, move_id = excluded.move_id,"
            " other = excluded.other, at = excluded.at",
            (PLACE, state, move_id, other, now, now),
        )

    def take_mark(self) -> None:
        """Remove the mark."""
        self._all("DELETE FROM database_moves")

    def hand_back(self, move_id: str, other: str, now: int) -> bool:
        """Take the database out of use unless a process has a lease on it; says whether."""
        self._all("BEGIN")
        self._all("LOCK TABLE workflow_leases IN ACCESS EXCLUSIVE MODE")
        if self.leases():
            self._all("ROLLBACK")
            return False
        self.put_mark("returned", move_id, other, now)
        self._all("COMMIT")
        return True

    # filling
    def begin(self, shapes: Sequence[Shape], *, overwrite: bool) -> None:
        """Begin to fill: empty tables, which nobody else can use until the end; nothing fires when rows come in.

        Raises:
            Conflict: somebody has begun to use it meanwhile.
        """
        self._all("BEGIN")
        self._all(sql.SAFE_COMMITS)
        names = composed.SQL(", ").join(map(_ident, [shape.name for shape in shapes] + ["workflow_leases"]))
        self._raw.execute(composed.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(names))
        if not overwrite and self.holding(shapes):
            raise Conflict(f"a process has begun to use {self.url}: stop it, and name an empty database")
        self._raw.execute(composed.SQL("TRUNCATE {}").format(names))
        for shape in shapes:
            self._raw.execute(composed.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(_ident(shape.name)))

    def without_indexes(self, shape: Shape) -> list[str]:
        """Drop the indexes of a table that guard nothing; returns what makes them again.

        That is quicker when all rows are in.
        """
        found = self._all(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s::regclass"
            " AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid) ORDER BY 1",
            (shape.name,),
        )
        for name, _ in found:
            self._all(f"DROP INDEX {name}")
        return [definition for _, definition in found]

    def with_indexes(self, definitions: Sequence[str]) -> None:
        """Make indexes again."""
        for definition in definitions:
            self._all(definition)

    def put(self, shape: Shape, rows: Iterable[Row]) -> int:
        """Add rows to a table; returns how many."""
        return self._put(shape.name, shape, rows)

    def _put(self, table: str, shape: Shape, rows: Iterable[Row]) -> int:
        count = 0
        into = composed.SQL("COPY {} ({}) FROM STDIN").format(
            _ident(table), composed.SQL(", ").join(map(_ident, shape.columns))
        )
        with self._raw.cursor() as cursor, cursor.copy(into) as copy:
            buffer = bytearray()
            for row in rows:
                buffer += line(row)
                count += 1
                if len(buffer) > BYTES:
                    copy.write(bytes(buffer))
                    buffer.clear()
            if buffer:
                copy.write(bytes(buffer))
        return count

    def put_later(self, shape: Shape, rows: Iterable[Row]) -> int:
        """Add rows that came since to a table; ``rows_put_later`` gives them back."""
        self._raw.execute(
            composed.SQL("CREATE TEMP TABLE {} (LIKE {}) ON COMMIT DROP").format(
                _ident(_later(shape)), _ident(shape.name)
            )
        )
        count = self._put(_later(shape), shape, rows)
        self._raw.execute(
            composed.SQL("INSERT INTO {} SELECT * FROM {}").format(_ident(shape.name), _ident(_later(shape)))
        )
        return count

    def empty(self, shape: Shape) -> None:
        """Remove all rows of a table."""
        self._raw.execute(composed.SQL("TRUNCATE {}").format(_ident(shape.name)))

    def rows(self, shape: Shape) -> Iterator[bytes]:
        """Yield the rows of a table in the order of its key, as COPY writes them."""
        return self._lines(shape, _ident(shape.name))

    def rows_put_later(self, shape: Shape) -> Iterator[bytes]:
        """Yield those rows of a table that were put there later, as they are there."""
        key = composed.SQL(", ").join(_ident(shape.columns[place]) for place in shape.key)
        joined = composed.SQL("{} JOIN (SELECT {} FROM {}) later USING ({})").format(
            _ident(shape.name), key, _ident(_later(shape)), key
        )
        return self._lines(shape, joined)

    def _lines(self, shape: Shape, source: composed.Composable) -> Iterator[bytes]:
        query = composed.SQL("COPY (SELECT {} FROM {} ORDER BY {}) TO STDOUT").format(
            composed.SQL(", ").join(map(_ident, shape.columns)),
            source,
            composed.SQL(", ").join(_ident(shape.columns[place]) for place in shape.key),
        )
        with self._raw.cursor() as cursor, cursor.copy(query) as copy:
            for row in copy:
                yield bytes(row)

    def finish(self, shapes: Sequence[Shape], move_id: str, other: str, now: int) -> None:
        """Let numbers go on behind the highest, switch triggers on, mark the database as arrived, and commit.

        Raises:
            Lost: the answer to the COMMIT was lost.
        """
        for shape in shapes:
            self._raw.execute(composed.SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(_ident(shape.name)))
            if shape.counted is not None:
                self._count_on(shape.name, shape.counted)
        self.put_mark("arrived", move_id, other, now)
        try:
            self._all("COMMIT")
        except BaseException as error:
            if isinstance(error, psycopg.Error) and not isinstance(error, psycopg.OperationalError):
                raise
            raise Lost(str(error)) from error

    def _count_on(self, table: str, column: str) -> None:
        [(sequence,)] = self._all("SELECT pg_get_serial_sequence(%s, %s)", (table, column))
        if sequence is not None:
            query = composed.SQL("SELECT setval(%s, greatest(max({}), 1), max({}) IS NOT NULL) FROM {}")
            self._raw.execute(query.format(_ident(column), _ident(column), _ident(table)), (sequence,))

    def analyze(self) -> None:
        """Let the server learn what is in the tables, so that its plans are right from the first question on."""
        self._all("ANALYZE")


def _later(shape: Shape) -> str:
    return f"{shape.name}_later"
