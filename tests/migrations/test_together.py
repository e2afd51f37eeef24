"""Processes that start together on a new database migrate it once."""

import os
import subprocess
import sys

import pytest

from windlass.storage import migrate, urls

START = """
import asyncio, logging, sys
from windlass import settings
from windlass.bootstrap import run_application

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")

async def main():
    async with run_application(settings.load()) as application:
        record = await application.records.create(b'{"source":"s","category":"c","payload":{}}')
        print("stored", record.id)

print("ready", flush=True)
sys.stdin.readline()
asyncio.run(main())
"""


@pytest.mark.parametrize("database", ["sqlite_url", "pg_dsn"])
def test_four_processes_migrate_once(database: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(database)
    environment = {**os.environ, "DATABASE_URL": url, "AUTO_MIGRATE": "true"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        outputs = [process.communicate(timeout=90)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()

    assert [process.returncode for process in processes] == [0] * 4, outputs
    assert sum(output.count("Running upgrade  -> 0001") for output in outputs) == 1, outputs
    assert all("stored" in output for output in outputs)
    assert migrate.inspect(urls.parse(url)).matches
