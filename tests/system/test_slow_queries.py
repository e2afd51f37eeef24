"""The runbook's question for slow queries, where PostgreSQL has the extension: the wheel of the tests has not."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.docs.blocks import blocks
from tests.support.paths import DOCS

INSTALLED = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def _shown() -> str:
    [shown] = [block.text for block in blocks(DOCS / "runbooks" / "providers.md") if block.language == "sql"]
    return shown


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user reaches, unlike those of pytest."""
    with TemporaryDirectory(prefix="windlass-pg-") as name:
        yield Path(name)


def test_the_columns_are_those_of_the_extension(folder: Path) -> None:
    if not INSTALLED:
        pytest.fail("PostgreSQL is not installed; `make test-system` installs it where it may")
    assert "pg_stat_statements" in _shown()
    programs = INSTALLED[-1]
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user, pwd.getpwnam(user).pw_gid)

    def run(program: str, *arguments: str) -> str:
        done = subprocess.run(
            [programs / program, *arguments], user=user, cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("initdb", "--pgdata", "data", "--username", "postgres", "--auth", "trust", "--no-sync")
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c shared_preload_libraries=pg_stat_statements"
    run("pg_ctl", "--pgdata", "data", "--log", "log", "--wait", "-o", options, "start")
    try:
        asked = ["-X", "-h", str(folder), "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-c"]
        run("psql", *asked, "CREATE EXTENSION pg_stat_statements")
        run("psql", *asked, "SELECT 'slow', pg_sleep(0.2)")
        said = run("psql", *asked, _shown())
    finally:
        run("pg_ctl", "--pgdata", "data", "--mode", "immediate", "--wait", "stop")

    assert "pg_sleep" in said.splitlines()[2]
    assert "total_exec_time" in said.splitlines()[0]
