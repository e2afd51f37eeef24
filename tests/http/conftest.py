"""The application on both databases."""

from collections.abc import AsyncIterator

import pytest

from tests.support.apps import Served, serving


@pytest.fixture(autouse=True)
def _quick_passwords(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("production_passwords") is None:
        request.getfixturevalue("quick_passwords")


@pytest.fixture(params=["migrated_sqlite_url", "migrated_pg_dsn"], ids=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated, empty database of each kind."""
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
async def served(database_url: str) -> AsyncIterator[Served]:
    """The started application."""
    async with serving(database_url) as running:
        yield running
