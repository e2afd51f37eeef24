"""Fresh databases for tests: empty ones, and copies of one that was migrated once."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from tests.support.paths import ROOT


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


def migrate(url: str) -> None:
    """Bring the database at `url` to the newest schema, the way an operator does."""
    environment = {**os.environ, "DATABASE_URL": url}
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"alembic upgrade head failed:\n{done.stdout}{done.stderr}")


def _administer(server_dsn: str, statement: str, *names: str) -> None:
    with psycopg.connect(server_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
