"""How rows look on their way: as lines of PostgreSQL's COPY, and when two of them hold the same.

Rows are read from SQLite as bytes and go to PostgreSQL as they are: there is nothing in between that could change them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

LEFT_BEHIND = frozenset({"workflow_leases", "workflow_commits", "database_moves"})
"""Tables that belong to the processes of one database, and to the move itself."""
ONLY_ADDED = frozenset({"workflow_events", "workflow_stream_items", "audit_log", "audit_chain"})
"""Tables whose rows never change: they are carried while servers go on writing, and what was added since at the end."""

Value = bytes | int | float | None
Row = Sequence[Value]

_SPECIAL = re.compile(rb"[\\\n\r\t]")
_ESCAPES = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r", b"\t": b"\\t"}
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_PLAIN = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Shape:
    """A table on its way: its columns, of what kind each is on PostgreSQL, and its key by place.

    Kinds are ``text``, ``json``, ``time``, ``bool``, ``int`` and ``float``.
    """

    name: str
    columns: tuple[str, ...]
    kinds: tuple[str, ...]
    key: tuple[int, ...]
    counted: str | None

    @property
    def only_added(self) -> bool:
        """Whether rows of it never change."""
        return self.name in ONLY_ADDED

    @property
    def listed(self) -> str:
        """The columns as SQL lists them."""
        return ", ".join(f'"{column}"' for column in self.columns)

    @property
    def ordered(self) -> str:
        """The columns of the key as SQL lists them; both databases order by them alike, byte by byte."""
        return ", ".join(f'"{self.columns[place]}"' for place in self.key)

    def named(self, row: Row) -> str:
        """Return a row's key in words."""
        return ", ".join(f"{self.columns[place]}={shown(row[place])}" for place in self.key)


def shown(value: Value) -> str:
    """Return a value for people, not longer than a line."""
    said = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return said if len(said) <= 80 else f"{said[:79]}…"


def shapes(metadata: sa.MetaData) -> list[Shape]:
    """Return the shapes of all tables that are carried: those of which there may be most come first."""
    found = [_shape(table) for table in metadata.sorted_tables if table.name not in LEFT_BEHIND]
    return sorted(found, key=lambda shape: (not shape.only_added, shape.name))


def _shape(table: sa.Table) -> Shape:
    columns = list(table.columns)
    key = tuple(columns.index(column) for column in table.primary_key)
    if not key:
        raise ValueError(f"the table {table.name} has no key to be carried by")
    counted = table.autoincrement_column
    return Shape(
        str(table.name),
        tuple(str(column.name) for column in columns),
        tuple(_kind(column.type) for column in columns),
        key,
        None if counted is None else str(counted.name),
    )


def _kind(type_: sa.types.TypeEngine[Any]) -> str:
    real = type_.dialect_impl(_DIALECT)
    for kind, of in (
        ("json", sa.JSON),
        ("time", sa.DateTime),
        ("bool", sa.Boolean),
        ("int", sa.Integer),
        ("float", sa.Float),
        ("text", sa.String),
    ):
        if isinstance(real, of):
            return kind
    raise ValueError(f"a column of type {real!r} cannot be carried")


def line(row: Row) -> bytes:
    """Return a row as a line of COPY's text format."""
    return b"\t".join([_cell(value) for value in row]) + b"\n"


def _cell(value: Value) -> bytes:
    if value is None:
        return b"\\N"
    if isinstance(value, bytes):
        return _SPECIAL.sub(lambda found: _ESCAPES[found[0]], value) if _SPECIAL.search(value) else value
    return repr(value).encode()


def cells(copied: bytes) -> list[bytes | None]:
    """Return the values of a line that COPY gave."""
    found: list[bytes | None] = list(copied[:-1].split(b"\t"))
    if b"\\" in copied:
        return [None if cell == b"\\N" else _unescaped(cell or b"") for cell in found]
    return found


def _unescaped(cell: bytes) -> bytes:
    return _ESCAPED.sub(lambda found: _PLAIN.get(found[1], found[1]), cell)


def same_text(ours: Value, theirs: bytes) -> bool:
    """Say whether a text or a number is the same."""
    return (ours if isinstance(ours, bytes) else repr(ours).encode()) == theirs


def same_json(ours: Value, theirs: bytes) -> bool:
    """Say whether two JSON texts are read as the same value: order of keys and spelling of numbers do not count."""
    text = ours if isinstance(ours, bytes) else repr(ours).encode()
    if text == theirs:
        return True
    with suppress(orjson.JSONDecodeError):
        if orjson.loads(text) == orjson.loads(theirs):
            return True
    return bool(_exactly(text) == _exactly(theirs))


def _exactly(text: bytes) -> Any:
    """Read JSON with its numbers as they are written: PostgreSQL spells 1e20 out, which no float is read from."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def same_time(ours: Value, theirs: bytes) -> bool:
    """Say whether two spellings of a time are the same microsecond."""
    if not isinstance(ours, bytes):
        return False
    # 2026-01-02T03:04:05.670000Z and 2026-01-02 03:04:05.67+00
    if ours[:10] == theirs[:10] and ours[11:-1].rstrip(b"0") == theirs[11:-3].rstrip(b"0"):
        return True
    return datetime.fromisoformat(ours.decode()) == datetime.fromisoformat(theirs.decode())


def same_bool(ours: Value, theirs: bytes) -> bool:
    """Say whether two truth values are the same."""
    return (theirs == b"t") == bool(ours)


def same_float(ours: Value, theirs: bytes) -> bool:
    """Say whether two numbers are the same, to their last bit."""
    return ours is not None and float(ours) == float(theirs)


SAME: dict[str, Callable[[Value, bytes], bool]] = {
    "text": same_text,
    "int": same_text,
    "json": same_json,
    "time": same_time,
    "bool": same_bool,
    "float": same_float,
}


@dataclass(frozen=True)
class Difference:
    """Where two databases do not hold the same: the table, the row's key, the column, and both values."""

    table: str
    row: str
    column: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        return f"{self.table} ({self.row}): {self.column} is {self.ours} here and {self.theirs} there"


def first_difference(shape: Shape, ours: Iterable[Row], theirs: Iterable[bytes]) -> Difference | int:
    """Go through the rows of a table on both sides, in the order of its key.

    Returns:
        where they differ first, or how many rows are the same.
    """
    same = [SAME[kind] for kind in shape.kinds]
    others = iter(theirs)
    count = 0
    for row in ours:
        copied = next(others, None)
        if copied is None:
            return Difference(shape.name, shape.named(row), "the row", "there", "missing")
        for place, (mine, other) in enumerate(zip(row, cells(copied), strict=True)):
            if mine != other and (mine is None or other is None or not same[place](mine, other)):
                return Difference(shape.name, shape.named(row), shape.columns[place], shown(mine), shown(other))
        count += 1
    more = next(others, None)
    if more is not None:
        return Difference(shape.name, shape.named(cells(more)), "the row", "missing", "there")
    return count
