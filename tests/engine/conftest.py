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
    memory_database,
    postgres_database,
    sqlite_database,
)
from tests.storage.models import pg_model, pg_suite, sqlite_model
from windlass import Engine

__all__ = ["pg_model", "pg_suite", "sqlite_model"]


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
        yield postgres_database(request.getfixturevalue("pg_suite").empty(), empty=False)


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
