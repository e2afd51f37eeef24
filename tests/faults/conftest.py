"""Databases for processes that die."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.crew import Crew, crew
from tests.faults.verdict import create_effects


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """The address of a fresh database, with the user's table, on each kind."""
    fixture = "migrated_sqlite_url" if request.param == "sqlite" else "migrated_pg_dsn"
    address: str = request.getfixturevalue(fixture)
    create_effects(address)
    return address


@pytest.fixture
def processes(url: str, tmp_path: Path) -> Iterator[Crew]:
    """Processes on the database of ``url``."""
    with crew(url, tmp_path) as members:
        yield members
