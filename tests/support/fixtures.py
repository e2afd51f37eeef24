"""The fixtures that give tests real servers; `tests/conftest.py` offers them to every test.

A server starts when the first test asks for it, one for each pytest process, and ends with that process.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from argon2 import PasswordHasher, profiles

from tests.support.databases import ReusedPostgres, fresh_postgres, migrate
from tests.support.postgres import CARELESS, PostgresServer
from tests.support.valkey import ValkeyServer
from windlass.contexts.identity import passwords


@pytest.fixture(scope="session")
def pg_server_dsn() -> Iterator[str]:
    """A superuser's address on a real PostgreSQL: TEST_PG_DSN when set, else a server from a wheel."""
    given = os.environ.get("TEST_PG_DSN")
    if given:
        yield given
        return
    server = PostgresServer(CARELESS)
    try:
        server.start()
        yield server.dsn
    finally:
        server.close()


@pytest.fixture
def pg_dsn(pg_server_dsn: str) -> Iterator[str]:
    """A fresh, empty PostgreSQL database, dropped after the test."""
    with fresh_postgres(pg_server_dsn) as dsn:
        yield dsn


@pytest.fixture(scope="session")
def pg_template(pg_server_dsn: str) -> Iterator[str]:
    """The name of a migrated database that nobody is connected to."""
    with fresh_postgres(pg_server_dsn) as dsn:
        migrate(dsn)
        yield urlsplit(dsn).path.removeprefix("/")


@pytest.fixture(scope="session")
def reused_postgres(pg_server_dsn: str, pg_template: str) -> Iterator[ReusedPostgres]:
    """The migrated database that tests of this process get one after the other."""
    reused = ReusedPostgres(pg_server_dsn, pg_template)
    yield reused
    reused.close()


@pytest.fixture
def migrated_pg_dsn(reused_postgres: ReusedPostgres) -> str:
    """A PostgreSQL database with the newest schema and no rows."""
    return reused_postgres.empty()


@pytest.fixture
def private_pg() -> Iterator[PostgresServer]:
    """A started server of the test's own, that it may stop, crash and start; durable."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The address of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'windlass.db'}"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file that nobody has open."""
    path = tmp_path_factory.mktemp("sqlite-template") / "windlass.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def migrated_sqlite_url(sqlite_url: str, sqlite_template: Path) -> str:
    """The address of a SQLite file with the newest schema and no rows."""
    shutil.copy(sqlite_template, sqlite_url.removeprefix("sqlite:///"))
    return sqlite_url


@pytest.fixture
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords with Argon2 still, but in microseconds: a login in production takes 50 ms and 64 MiB."""
    quick = PasswordHasher.from_parameters(profiles.CHEAPEST)
    monkeypatch.setattr(passwords.Passwords, "_hasher", quick)
    monkeypatch.setattr(passwords, "NOBODY", quick.hash("nobody has this one"))


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    """A started Valkey."""
    server = ValkeyServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def valkey_url(valkey_server: ValkeyServer) -> str:
    """The address of an empty Valkey database."""
    valkey_server.flush()
    return valkey_server.url
