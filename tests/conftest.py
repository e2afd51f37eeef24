"""What every test gets: real servers on demand, and an environment that is not the developer's."""

from collections.abc import Iterator

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
from tests.support.paths import ROOT

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
        # Tests start more runs than a user may; those of limits say what they want.
        patch.setenv("WORKFLOWS_DISABLE_QUOTAS", "true")
        patch.setenv("WORKFLOWS_DISABLE_RATE_LIMITS", "true")
        patch.setenv("RATE_LIMITS_ENABLED", "false")
        yield
