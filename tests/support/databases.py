"""Fresh databases for tests: empty ones, and copies of one that was migrated once."""

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from tests.support.paths import ROOT
from tests.support.warmth import warm

ON_ONE_DATABASE = pytest.mark.parametrize("database_url", ["migrated_sqlite_url"], ids=["sqlite"], indirect=True)
"""For what is decided without asking a database: one shows it as well as two."""


def with_database(dsn: str, name: str) -> str:
    """Return `dsn` pointing to the database `name` of the same server."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


@contextmanager
def fresh_postgres(server_dsn: str, template: str = "template1") -> Iterator[str]:
    """Create a database as a copy of `template`, give its address, drop it afterwards in any case."""
    name = f"windlass_{secrets.token_hex(6)}"
    _administer(server_dsn, "CREATE DATABASE {} TEMPLATE {}", name, template)
    try:
        yield with_database(server_dsn, name)
    finally:
        _administer(server_dsn, "DROP DATABASE {} WITH (FORCE)", name)


_EMPTY = """DO $$ DECLARE named text; used bool; BEGIN
 SET LOCAL session_replication_role = replica; -- past the triggers that keep journals
 SET LOCAL synchronous_commit = off;
 PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
 FOR named IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version' LOOP
  EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I)', named) INTO used;
  IF used THEN EXECUTE format('DELETE FROM %I', named); END IF;
 END LOOP;
 FOR named IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL LOOP
  EXECUTE format('ALTER SEQUENCE %I RESTART', named);
 END LOOP;
END $$"""
_SHAPE = """SELECT md5(string_agg(said, ',' ORDER BY said)) FROM (
 SELECT relname || relkind::text || coalesce(reloptions::text, '') FROM pg_class
 WHERE relnamespace = 'public'::regnamespace
 UNION ALL SELECT attrelid::regclass || '.' || attname || atttypid::regtype || attnotnull FROM pg_attribute
 WHERE attnum > 0 AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
 UNION ALL SELECT tgrelid::regclass || tgname || tgenabled::text FROM pg_trigger
 UNION ALL SELECT conrelid::regclass || conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace
 UNION ALL SELECT setconfig::text FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase
 WHERE datname = current_database()
 UNION ALL SELECT version_num FROM alembic_version) things (said)"""


class ReusedPostgres:
    """A migrated database that is emptied between its users; a new one takes its place when one has changed its tables.

    Args:
        server_dsn: the server.
        template: the migrated database it is a copy of.
    """

    def __init__(self, server_dsn: str, template: str) -> None:
        self._server_dsn, self._template = server_dsn, template
        self._made = ExitStack()
        self._dsn = ""
        self._cleaner: psycopg.Connection | None = None  # kept, because a new one costs more than what it does
        self._shape: object = None

    def empty(self) -> str:
        """Return the address of a database without rows, whatever its last user did."""
        if self._cleaner is None or not self._emptied(self._cleaner):
            self.close()
            self._dsn = self._made.enter_context(fresh_postgres(self._server_dsn, self._template))
            self._cleaner = self._made.enter_context(psycopg.connect(self._dsn, autocommit=True))
            self._shape = self._cleaner.execute(_SHAPE.encode()).fetchone()
        return self._dsn

    def _emptied(self, cleaner: psycopg.Connection) -> bool:
        try:
            cleaner.execute(_EMPTY.encode())
            return cleaner.execute(_SHAPE.encode()).fetchone() == self._shape
        except psycopg.Error:
            return False

    def close(self) -> None:
        """Drop it."""
        self._cleaner = None
        self._made.close()


def migrate(url: str) -> None:
    """Bring the database at `url` to the newest schema, the way an operator does."""
    code, out, err = warm().run(["alembic", "upgrade", "head"], ROOT, {**os.environ, "DATABASE_URL": url})
    if code:
        raise RuntimeError(f"alembic upgrade head failed:\n{out}{err}")


def _administer(server_dsn: str, statement: str, *names: str) -> None:
    with psycopg.connect(server_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
