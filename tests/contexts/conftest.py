"""The composed application without its edges, on both databases."""

from collections.abc import AsyncIterator

import pytest

from windlass.bootstrap import Application, run_application
from windlass.settings import Settings


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
async def running(database_url: str) -> AsyncIterator[Application]:
    """The started application."""
    async with run_application(Settings(database_url=database_url, lease_seconds=5.0)) as application:
        yield application
