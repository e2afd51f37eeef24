"""What tests of PostgreSQL alone stand on: a database with the engine's tables, and one that can be cut off."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.storage.databases import Database, postgres_database
from tests.storage.postgres.proxy import Proxy
from tests.storage.scene import Scene
from tests.support.databases import ReusedPostgres
from windlass.storage.postgres.backend import PostgresBackend


@pytest.fixture
def pg_dsn(pg_suite: ReusedPostgres) -> str:
    """An empty database with the newest tables, that the test may change as it likes."""
    return pg_suite.empty()


@pytest.fixture
def database(pg_dsn: str) -> Database:
    """An empty database with the newest tables; here only PostgreSQL."""
    return postgres_database(pg_dsn, empty=False)


@pytest.fixture
def backend(database: Database, pg_dsn: str) -> Iterator[PostgresBackend]:
    """A process's way to the database."""
    backend = PostgresBackend(pg_dsn)
    yield backend
    backend.close()


@pytest.fixture
def other(database: Database, pg_dsn: str) -> Iterator[PostgresBackend]:
    """Another process's way to the same database."""
    backend = PostgresBackend(pg_dsn)
    yield backend
    backend.close()


@pytest.fixture
def scene(database: Database, backend: PostgresBackend) -> Iterator[Scene]:
    """A writer on the backend."""
    with Scene(database, backend) as scene:
        yield scene


@pytest.fixture
def proxy(pg_dsn: str) -> Iterator[Proxy]:
    """A way to the database that can be cut."""
    proxy = Proxy(pg_dsn)
    yield proxy
    proxy.close()


@pytest.fixture
def distant(database: Database, proxy: Proxy) -> Iterator[PostgresBackend]:
    """A process whose connections go through the proxy."""
    backend = PostgresBackend(proxy.url)
    yield backend
    backend.close()


@pytest.fixture
def admin(database: Database, pg_dsn: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A plain connection that looks on."""
    with psycopg.connect(pg_dsn, autocommit=True) as connection:
        yield connection
