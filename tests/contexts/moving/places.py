"""Two databases to move between, and what is in them."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from windlass.bootstrap.moving import Move
from windlass.settings import Settings
from windlass.storage.moving.shapes import Shape


def settings(path: Path) -> Settings:
    """Return the settings of an installation on a file."""
    return Settings(database_url=f"sqlite:///{path}")


def mover(path: Path, to: str, tell: Callable[[str, int, int | None], None] | None = None, **options: Any) -> Move:
    """Return a move of the file at a path."""
    return Move(settings(path), to, tell=tell or (lambda _what, _done, _total: None), **options)


def add(path: Path, table: str, rows: list[dict[str, Any]]) -> None:
    """Write rows of one shape into a table of the old database, as another program would."""
    columns = list(rows[0])
    with sqlite3.connect(path) as raw:
        raw.executemany(
            f'INSERT INTO "{table}" ({", ".join(columns)}) VALUES ({", ".join("?" * len(columns))})',
            [[row[column] for column in columns] for row in rows],
        )
    raw.close()


def there(dsn: str, query: str) -> list[tuple[Any, ...]]:
    """Ask the new database."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute(query).fetchall()


def here(path: Path, query: str) -> list[tuple[Any, ...]]:
    """Ask the old database, or change it."""
    with sqlite3.connect(path) as raw:
        found = raw.execute(query).fetchall()
    raw.close()
    return found


VALUES: dict[str, Any] = {
    "text": "a\tb\\n\r\n'\"é🜂 \\N",
    "json": '{"b": [1, 2.50, -0.0, 1e16, "\\\\ \\n \\u00e9 é 🜂", null, true], "a": {"": {}}, "big": 92233720368547758}',
    "time": "2026-11-27T10:00:00.000001Z",
    "bool": 1,
    "int": 7,
    "float": 0.1 + 0.2,
}


CHECKED = {("candidates", "status"): "pending"}
"""What a column takes that does not take every text."""


def full_row(shape: Shape, number: int) -> dict[str, Any]:
    """Return a row of a table with a value in every column, different from the others in its key."""
    row = {column: VALUES[kind] for column, kind in zip(shape.columns, shape.kinds, strict=True)}
    for place, (column, kind) in enumerate(zip(shape.columns, shape.kinds, strict=True)):
        if kind == "int":
            row[column] = number
        elif (shape.name, column) in CHECKED:
            row[column] = CHECKED[shape.name, column]
        elif kind == "text":
            row[column] = f"{VALUES['text']}{number}"
        elif kind == "time" and place in shape.key:
            row[column] = f"2026-11-27T10:00:0{number}.120000Z"
    return row
