"""One suite for every backend: whoever asks for `database`, `backend` or `scene` runs once on each of them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.databases import (
    Database,
    memory_database,
    postgres_database,
    sqlite_database,
)
from tests.storage.models import pg_model, pg_suite, sqlite_model
from tests.storage.scene import Scene
from windlass.engine.ports import Backend

__all__ = ["pg_model", "pg_suite", "sqlite_model"]


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
        yield postgres_database(request.getfixturevalue("pg_suite").empty(), empty=False)


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
