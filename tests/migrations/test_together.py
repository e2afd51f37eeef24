"""Processes that start together on a new database migrate it once."""

import os
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.waiting import wait_until
from tests.support.warmth import warm
from windlass.storage import migrate, urls


@pytest.mark.parametrize("database", ["sqlite_url", "pg_dsn"])
def test_four_processes_migrate_once(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = request.getfixturevalue(database)
    environment = {**os.environ, "DATABASE_URL": url, "AUTO_MIGRATE": "true", "PYTHONPATH": str(ROOT)}
    logs = [tmp_path / f"{number}.log" for number in range(4)]
    reads, go = os.pipe()
    processes = []
    with os.fdopen(reads, "rb") as stdin, os.fdopen(go, "wb"):
        for log in logs:
            with log.open("wb") as printed:
                command = ["tests.migrations.starting"]
                processes.append(warm().start(command, tmp_path, environment, [stdin, printed, printed]))
        wait_until(lambda: all("ready" in log.read_text() for log in logs), what="the start of every process")
    codes = [process.wait(90) for process in processes]

    outputs = [log.read_text() for log in logs]
    assert codes == [0] * 4, outputs
    assert sum(output.count("Running upgrade  -> 0001") for output in outputs) == 1, outputs
    assert all("stored" in output for output in outputs)
    assert migrate.inspect(urls.parse(url)).matches
