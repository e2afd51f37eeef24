"""One suite for every backend: whoever asks for `database`, `backend` or `scene` runs once on each of them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.databases import (
    Database,
    create_tables,
    empty_tables,
    memory_database,
    postgres_database,
    sqlite_database,
)
from tests.storage.scene import Scene
from tests.support.databases import fresh_postgres
from windlass.engine.ports import Backend


@pytest.fixture(scope="session")
def sqlite_model(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file with a table of somebody else."""
    path = tmp_path_factory.mktemp("sqlite-model") / "windlass.db"
    shutil.copy(sqlite_template, path)
    create_tables(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def pg_suite_dsn(pg_server_dsn: str, pg_template: str) -> Iterator[str]:
    """A migrated PostgreSQL database with a table of somebody else, for one test after the other."""
    with fresh_postgres(pg_server_dsn, template=pg_template) as dsn:
        create_tables(dsn)
        yield dsn


@pytest.fixture(params=["memory", "sqlite", "sqlite-inline", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database with the newest tables; ``inline`` writes as the event loop does."""
    if request.param == "memory":
        database, store = memory_database()
        yield database
        store.close()
    elif request.param.startswith("sqlite"):
        path = tmp_path / "windlass.db"
        shutil.copy(request.getfixturevalue("sqlite_model"), path)
        yield sqlite_database(path, inline=request.param.endswith("inline"))
    else:
        dsn = request.getfixturevalue("pg_suite_dsn")
        yield postgres_database(dsn, empty=False)
        empty_tables(dsn)


@pytest.fixture
def backend(database: Database) -> Iterator[Backend]:
    """A process's way to the database."""
    backend = database.open()
    yield backend
    backend.close()


@pytest.fixture
def scene(database: Database, backend: Backend) -> Iterator[Scene]:
    """A writer on the backend and short ways to say things to it."""
    with Scene(database, backend) as scene:
        yield scene


@pytest.fixture
def other(database: Database) -> Iterator[Scene]:
    """Another process on the same database."""
    backend = database.open()
    with Scene(database, backend, "other-") as scene:
        yield scene
    backend.close()
