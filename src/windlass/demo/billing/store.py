"""Where the demo billing keeps its providers: one SQLite file of its own."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from windlass.kernel.clock import SystemClock, to_iso

FIRST_ID = 10_001
_TABLE = """CREATE TABLE IF NOT EXISTS providers (
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, idempotency_key TEXT UNIQUE,
  asked_name TEXT NOT NULL, created_at TEXT NOT NULL)"""
_NUMBERS = """INSERT INTO sqlite_sequence (name, seq)
  SELECT 'providers', ? WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'providers')"""
_COLUMNS = "id, name, idempotency_key, created_at"


class Unusable(Exception):
    """The file is no database, or cannot be written."""


class NameTaken(Exception):
    """There is a provider of this name."""


class KeyReused(Exception):
    """The key belongs to a call with another body."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A row of the store; ``created_at`` is ISO 8601 in UTC."""

    id: int
    name: str
    idempotency_key: str | None
    created_at: str


class Store:
    """The providers. Its calls block, as briefly as a commit takes.

    Args:
        path: of the file, which is made when it is not there; ``:memory:`` forgets at the end.

    Raises:
        Unusable: it cannot be used.
    """

    def __init__(self, path: str) -> None:
        self._clock = SystemClock()
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute(_TABLE)
            self._connection.execute(_NUMBERS, [FIRST_ID - 1])
        except sqlite3.Error as error:
            raise Unusable(str(error)) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def create(self, name: str, key: str | None) -> tuple[int, bool]:
        """Create a provider; return its number and whether the key had created it before.

        Raises:
            KeyReused: the key has created one of another name.
            NameTaken: there is one of this name.
        """
        if key is not None:
            before = self._connection.execute(
                "SELECT id, asked_name FROM providers WHERE idempotency_key = ?", [key]
            ).fetchone()
            if before is not None:
                if before[1] != name:
                    raise KeyReused
                return before[0], True
        row = [name, key, name, to_iso(self._clock.now())]
        try:
            made = self._connection.execute(
                "INSERT INTO providers (name, idempotency_key, asked_name, created_at) VALUES (?, ?, ?, ?)", row
            )
        except sqlite3.IntegrityError:
            raise NameTaken from None
        assert made.lastrowid is not None  # noqa: S101  an insert has one
        return made.lastrowid, False

    def rename(self, provider_id: int, name: str) -> bool:
        """Give a provider another name; return whether there is such a provider.

        Raises:
            NameTaken: another one has the name.
        """
        try:
            done = self._connection.execute("UPDATE providers SET name = ? WHERE id = ?", [name, provider_id])
        except sqlite3.IntegrityError:
            raise NameTaken from None
        return done.rowcount == 1

    def get(self, provider_id: int) -> Provider | None:
        """Return a provider, None when there is none of this number."""
        return self._one("id", provider_id)

    def find(self, name: str) -> Provider | None:
        """Return the provider of exactly this name, None when there is none."""
        return self._one("name", name)

    def count(self) -> int:
        """Return how many there are."""
        found: int = self._connection.execute("SELECT count(*) FROM providers").fetchone()[0]
        return found

    def _one(self, column: str, value: object) -> Provider | None:
        asked = f"SELECT {_COLUMNS} FROM providers WHERE {column} = ?"  # noqa: S608  a name of ours
        row = self._connection.execute(asked, [value]).fetchone()
        return None if row is None else Provider(*row)
