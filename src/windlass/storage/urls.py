"""DATABASE_URL in all its spellings, read once: which database, where, and how many connections."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from windlass.kernel.errors import ConfigError

POOL_SIZE = 10
MAX_OVERFLOW = 20
SPELLINGS = (
    "sqlite:///./file.db, sqlite:////absolute/file.db or"
    " postgresql://user:password@host:5432/name?pool_size=10&max_overflow=20"
)
_SQLITE = frozenset({"sqlite", "sqlite+pysqlite", "sqlite+aiosqlite"})
_POSTGRES = frozenset({"postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2", "postgresql+asyncpg"})


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """A database's address.

    ``backend`` is ``sqlite`` or ``postgresql``; ``path`` is the file of the former; ``pool_size`` connections
    are kept and ``max_overflow`` more are opened when needed.
    """

    backend: str
    sqlalchemy: sa.URL
    path: Path | None = None
    pool_size: int = POOL_SIZE
    max_overflow: int = MAX_OVERFLOW

    def __str__(self) -> str:
        return self.sqlalchemy.set(drivername=self.backend).render_as_string(hide_password=True)

    @property
    def libpq(self) -> dict[str, Any]:
        """The connection parameters of PostgreSQL's own client library, by name."""
        url = self.sqlalchemy
        given = {
            "host": url.host,
            "port": url.port,
            "user": url.username,
            "password": url.password,
            "dbname": url.database,
            **url.query,
        }
        return {name: value for name, value in given.items() if value is not None}


def parse(text: str) -> DatabaseUrl:
    """Read a database's address.

    Raises:
        ConfigError: it is none, or names an option that does not exist; the message holds no password.
    """
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError):
        raise ConfigError("it is no database address") from None
    if url.drivername in _SQLITE:
        return _sqlite(url)
    if url.drivername in _POSTGRES:
        return _postgres(url)
    raise ConfigError(f"{url.drivername!r} is no known kind of database")


def _sqlite(url: sa.URL) -> DatabaseUrl:
    if url.query:
        raise ConfigError(f"SQLite knows no option {min(url.query)!r}")
    if url.host or url.username:
        raise ConfigError("a SQLite address has three slashes before the file: sqlite:///./file.db")
    if not url.database or url.database == ":memory:":
        raise ConfigError("SQLite needs a file, a database in memory would not outlive the process")
    path = Path(url.database)
    return DatabaseUrl("sqlite", sa.URL.create("sqlite", database=str(path)), path)


def _postgres(url: sa.URL) -> DatabaseUrl:
    query = {name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()}
    if "ssl" in query:
        query["sslmode"] = query.pop("ssl")
    pool_size = _count(query, "pool_size", POOL_SIZE, least=1)
    max_overflow = _count(query, "max_overflow", MAX_OVERFLOW, least=0)
    unknown = set(query) - _libpq_options()
    if unknown:
        raise ConfigError(f"PostgreSQL knows no option {min(unknown)!r}")
    if not url.database:
        raise ConfigError("the name of the database is missing")
    plain = url.set(drivername="postgresql+psycopg", query=query)
    return DatabaseUrl("postgresql", plain, None, pool_size, max_overflow)


def _count(query: dict[str, str], name: str, default: int, least: int) -> int:
    text = query.pop(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise ConfigError(f"{name} must be an integer, {least} or more")
    return int(text)


def _libpq_options() -> set[str]:
    try:
        from psycopg.pq import Conninfo  # noqa: PLC0415  only who uses PostgreSQL needs its driver
    except ImportError:
        raise ConfigError("PostgreSQL needs its driver: pip install 'windlass[postgres]'") from None
    return {option.keyword.decode() for option in Conninfo.get_defaults()}
