"""Processes with schedules, on both databases."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contexts.schedules.stage import Stage
from tests.engine.lab import Lab
from tests.storage.databases import postgres_database, sqlite_database
from tests.storage.models import pg_model, pg_suite, sqlite_model

__all__ = ["pg_model", "pg_suite", "sqlite_model"]

BEGIN = "2030-06-01T10:30:00Z"


@pytest.fixture(params=["sqlite", "postgres"])
async def stage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    """A database of each kind, at half past ten."""
    monkeypatch.setattr("windlass.engine.worker.POLL_SECONDS", 0.1)
    monkeypatch.setattr("windlass.engine.run.LINGER", 0.03)
    if request.param == "sqlite":
        path = tmp_path / "windlass.db"
        shutil.copy(request.getfixturevalue("sqlite_model"), path)
        database = sqlite_database(path)
    else:
        database = postgres_database(request.getfixturevalue("pg_suite").empty(), empty=False)
    lab = Lab(database)
    made = Stage(lab)
    made.set_clock(BEGIN)
    yield made
    await lab.close()
