"""The engine through its public API: whoever asks for `engine` or `lab` runs once on each backend."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.lab import Lab
from tests.storage.databases import (
    Database,
    create_tables,
    empty_tables,
    memory_database,
    postgres_database,
    sqlite_database,
)
from tests.support.databases import fresh_postgres
from windlass import Engine


@pytest.fixture(scope="session")
def sqlite_model(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file with a table of somebody else."""
    path = tmp_path_factory.mktemp("engine-model") / "windlass.db"
    shutil.copy(sqlite_template, path)
    create_tables(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def pg_suite_dsn(pg_server_dsn: str, pg_template: str) -> Iterator[str]:
    """A migrated PostgreSQL database with a table of somebody else, for one test after the other."""
    with fresh_postgres(pg_server_dsn, template=pg_template) as dsn:
        create_tables(dsn)
        yield dsn


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database with the newest tables and a table of somebody else."""
    if request.param == "memory":
        database, store = memory_database()
        yield database
        store.close()
    elif request.param == "sqlite":
        path = tmp_path / "windlass.db"
        shutil.copy(request.getfixturevalue("sqlite_model"), path)
        yield sqlite_database(path)
    else:
        dsn = request.getfixturevalue("pg_suite_dsn")
        yield postgres_database(dsn, empty=False)
        empty_tables(dsn)


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes look around ten times as often, and waiting runs leave memory ten times as soon."""
    monkeypatch.setattr("windlass.engine.worker.POLL_SECONDS", 0.1)
    monkeypatch.setattr("windlass.engine.run.LINGER", 0.03)


@pytest.fixture
async def lab(database: Database) -> AsyncIterator[Lab]:
    """A database to start processes on."""
    lab = Lab(database)

    def complain(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        lab.complaints.append(f"{context['message']}: {context.get('exception')!r}")

    asyncio.get_running_loop().set_exception_handler(complain)
    yield lab
    await lab.close()


@pytest.fixture
async def engine(lab: Lab) -> Engine:
    """The engine of a process that carries runs out."""
    return await lab.engine()
