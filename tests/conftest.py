"""What every test gets: real servers on demand, and an environment that is not the developer's."""

import gc
import os
from collections.abc import Iterator
from functools import cache

import httpx2
import hypothesis
import pytest

from tests.support.fixtures import (
    migrated_pg_dsn,
    migrated_sqlite_url,
    pg_dsn,
    pg_server_dsn,
    pg_template,
    private_pg,
    quick_passwords,
    reused_postgres,
    sqlite_template,
    sqlite_url,
    valkey_server,
    valkey_url,
)
from tests.support.order import in_order
from tests.support.paths import ROOT
from tests.support.ram import keep_files_in_memory
from tests.support.settings import read_settings_quickly

__all__ = [
    "migrated_pg_dsn",
    "migrated_sqlite_url",
    "pg_dsn",
    "pg_server_dsn",
    "pg_template",
    "private_pg",
    "quick_passwords",
    "reused_postgres",
    "sqlite_template",
    "sqlite_url",
    "valkey_server",
    "valkey_url",
]

keep_files_in_memory()
read_settings_quickly()
# How long an example takes says nothing on a machine that does something else as well.
hypothesis.settings.register_profile(
    "house",
    hypothesis.settings.default,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("house")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long."""
    items[:] = in_order(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")), lambda item: item.nodeid)


def pytest_collection_finish() -> None:
    """Keep what has been loaded out of garbage collection, as servers do."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def _neutral_surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the developer's settings, `.env` and databases out; `tests.support.paths` finds files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("cwd"))
        patch.delenv("DATABASE_URL_WORKFLOWS", raising=False)
        for line in (ROOT / ".env.example").read_text().splitlines():
            name, assigned, _ = line.removeprefix("#").strip().partition("=")
            if assigned and name.isidentifier():
                patch.delenv(name, raising=False)
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)  # or every process that tests start compiles it all
        # Each client reads all certificates of the world, and no test has a use for them.
        patch.setattr("httpx2._transports.default.create_ssl_context", cache(httpx2.create_ssl_context))
        # Tests start more runs than a user may; those of limits say what they want.
        patch.setenv("WORKFLOWS_DISABLE_QUOTAS", "true")
        patch.setenv("WORKFLOWS_DISABLE_RATE_LIMITS", "true")
        patch.setenv("RATE_LIMITS_ENABLED", "false")
        yield
