"""What the databases of these tests are copies of: the newest tables, and one of somebody else."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.storage.databases import create_tables
from tests.support.databases import ReusedPostgres, fresh_postgres


@pytest.fixture(scope="session")
def sqlite_model(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file with a table of somebody else."""
    path = tmp_path_factory.mktemp("sqlite-model") / "windlass.db"
    shutil.copy(sqlite_template, path)
    create_tables(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def pg_model(pg_server_dsn: str, pg_template: str) -> Iterator[str]:
    """The name of a migrated database with a table of somebody else, that nobody is connected to."""
    with fresh_postgres(pg_server_dsn, template=pg_template) as dsn:
        create_tables(dsn)
        yield urlsplit(dsn).path.removeprefix("/")


@pytest.fixture(scope="session")
def pg_suite(pg_server_dsn: str, pg_model: str) -> Iterator[ReusedPostgres]:
    """A copy of it for one test after the other."""
    reused = ReusedPostgres(pg_server_dsn, pg_model)
    yield reused
    reused.close()
