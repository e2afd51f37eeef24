"""Processes whose runs ask people, on both databases."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contexts.people.asked import Office
from tests.engine.lab import Lab
from tests.storage.databases import postgres_database, sqlite_database
from windlass import Engine


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.engine.worker.POLL_SECONDS", 0.1)
    monkeypatch.setattr("windlass.engine.run.LINGER", 0.03)


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    """No process yet."""
    if database_url.startswith("sqlite"):
        database = sqlite_database(Path(database_url.removeprefix("sqlite:///")))
    else:
        database = postgres_database(database_url, empty=False)
    lab = Lab(database)
    yield Office(lab)
    await lab.close()


@pytest.fixture
async def engine(office: Office) -> Engine:
    """A process that carries runs out."""
    return await office.open()
