"""Bring a database to this version of the code, or say plainly why nothing may start on it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from windlass.kernel.errors import ConfigError, Unavailable
from windlass.storage.urls import DatabaseUrl

URL = "windlass.url"
"""The attribute of an Alembic configuration that names the database; without it DATABASE_URL is read."""
BUSY_SECONDS = 60.0
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


@dataclass(frozen=True, slots=True)
class Version:
    """What a database is at (``current``, None when it is empty) and what the code wants (``head``)."""

    current: str | None
    head: str
    known: bool

    @property
    def matches(self) -> bool:
        """Whether the code can work on the database as it is."""
        return self.current == self.head


def config(url: DatabaseUrl) -> Config:
    """Return the Alembic configuration of the installed package for one database."""
    made = _settled(Config())
    made.attributes[URL] = url
    return made


def _settled(made: Config) -> Config:
    made.set_main_option("script_location", "windlass:migrations")
    return made


def engine_for(url: DatabaseUrl, *, writes: bool = True) -> sa.Engine:
    """Return an engine whose transactions hold schema changes too: all of a migration or nothing of it."""
    if url.path is None:
        return _primary(url)
    url.path.absolute().parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(
        url.sqlalchemy,
        poolclass=sa.NullPool,
        connect_args={"isolation_level": None, "timeout": BUSY_SECONDS},
    )

    @sa.event.listens_for(engine, "connect")
    def _prepare(raw: sqlite3.Connection, _record: Any) -> None:
        if writes:
            raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("PRAGMA synchronous = FULL")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _primary(url: DatabaseUrl) -> sa.Engine:
    """Return an engine on a PostgreSQL server that takes writes, whichever of those named that is."""
    import psycopg  # noqa: PLC0415  only who uses PostgreSQL needs its driver

    given = {"target_session_attrs": "read-write", **url.libpq}
    return sa.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(**given, prepare_threshold=None),
        poolclass=sa.NullPool,
    )


def damaged(url: DatabaseUrl, said: str) -> ConfigError:
    """Return the error of a SQLite file that is damaged, or none at all."""
    return ConfigError(
        f"the database {url} is damaged, or no SQLite file: {said}; stop every process, keep the files and restore the"
        " last backup (docs/runbook.md, Database Corruption)"
    )


@contextmanager
def reachable(url: DatabaseUrl) -> Iterator[None]:
    """Say plainly that a database does not answer, or that its file is damaged.

    Raises:
        ConfigError: the file is damaged.
        Unavailable: the database cannot be reached.
    """
    try:
        yield
    except sa.exc.DatabaseError as error:
        if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
            raise damaged(url, str(error.orig)) from error
        if not isinstance(error, sa.exc.OperationalError):
            raise
        raise Unavailable(f"the database {url} cannot be reached: {error.orig}") from error


@cache
def _revisions() -> tuple[str, ...]:
    """Return the versions that the code knows, the newest first: reading them costs more than asking a database."""
    return tuple(one.revision for one in ScriptDirectory.from_config(_settled(Config())).walk_revisions())


def newest() -> str:
    """Return the version that the code wants."""
    return _revisions()[0]


def inspect(url: DatabaseUrl) -> Version:
    """Look which version a database is at; changes nothing.

    Raises:
        ConfigError: its file is damaged.
        Unavailable: the database cannot be reached.
    """
    current = None
    if url.path is None or url.path.exists():
        with reachable(url), engine_for(url, writes=False).connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
    return Version(current, newest(), current is None or current in _revisions())


@contextmanager
def _found(url: DatabaseUrl, at: Version, revision: str) -> Iterator[None]:
    """Say plainly that a revision is none, or as far away as no revision is."""
    try:
        yield
    except CommandError as error:
        if at.current is None and revision.startswith("-"):
            raise ConfigError(f"the database {url} is empty: there is nothing to take back") from error
        known = ", ".join(reversed(_revisions()))
        state = "is empty" if at.current is None else f"is at {at.current}"
        raise ConfigError(
            f"there is no revision {revision} to go to: the revisions are base, {known} (head),"
            f" and the database {url} {state}"
        ) from error


def upgrade(url: DatabaseUrl, lock: AbstractContextManager[None], revision: str = "head") -> Version:
    """Apply what is missing, one process at a time; a database that lacks nothing is left alone.

    Args:
        url: the database.
        lock: held meanwhile, so that processes starting together migrate once (PostgreSQL locks by itself).
        revision: how far to go.

    Raises:
        ConfigError: the database is newer than the code, or damaged, or there is no such revision.
        Unavailable: the database cannot be reached.
    """
    with lock:
        found = inspect(url)
        refuse_newer(url, found)
        if revision != "head" or not found.matches:
            with reachable(url), _found(url, found, revision):
                command.upgrade(config(url), revision)
    return inspect(url)


def downgrade(url: DatabaseUrl, lock: AbstractContextManager[None], revision: str) -> Version:
    """Take steps back, for example ``-1`` or ``base``.

    Raises:
        ConfigError: the database is newer than the code, or damaged, or there is nothing of that to take back.
        Unavailable: the database cannot be reached.
    """
    with lock:
        found = inspect(url)
        refuse_newer(url, found)
        with reachable(url), _found(url, found, revision):
            command.downgrade(config(url), revision)
    return inspect(url)


def quick_check(url: DatabaseUrl) -> str:
    """Let SQLite look through its whole file for damage; returns ``ok`` or what it has found.

    Raises:
        ConfigError: it is too damaged to be looked through.
        Unavailable: it cannot be read.
    """
    with reachable(url), engine_for(url, writes=False).connect() as connection:
        found = connection.exec_driver_sql("PRAGMA quick_check(3)").scalars().all()
    return "; ".join(" ".join(str(line).split()) for line in found)


def refuse_newer(url: DatabaseUrl, found: Version) -> None:
    """Refuse a database that this code does not know.

    Raises:
        ConfigError: it is at a revision that a newer version of the code made.
    """
    if not found.known:
        raise ConfigError(
            f"the database {url} is at revision {found.current}, which this version does not know (it knows up to"
            f" {found.head}): it was made by a newer version; update this one, or restore the database",
            current=found.current,
            head=found.head,
        )


def refuse_other(url: DatabaseUrl, found: Version) -> None:
    """Refuse a database that is not exactly at the code's version.

    Raises:
        ConfigError: it is older or newer; says what to do.
    """
    refuse_newer(url, found)
    if not found.matches:
        state = "is empty" if found.current is None else f"is at revision {found.current}"
        raise ConfigError(
            f"the database {url} {state}, this version needs {found.head}: run `windlass db upgrade`"
            " (or set AUTO_MIGRATE=true)",
            current=found.current,
            head=found.head,
        )
