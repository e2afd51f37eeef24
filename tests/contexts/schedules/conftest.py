"""Processes with schedules, on both databases."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contexts.schedules.stage import Stage
from tests.engine.lab import Lab
from tests.storage.databases import create_tables, postgres_database, sqlite_database

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
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        create_tables(f"sqlite:///{path}")
        database = sqlite_database(path)
    else:
        dsn = request.getfixturevalue("migrated_pg_dsn")
        create_tables(dsn)
        database = postgres_database(dsn, empty=False)
    lab = Lab(database)
    made = Stage(lab)
    made.set_clock(BEGIN)
    yield made
    await lab.close()
