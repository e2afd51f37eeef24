"""A disk that is full (here: a limit on the size of files) refuses writes; when there is room again all goes on."""

import signal
from pathlib import Path

import sqlalchemy as sa

from tests.faults.crew import crew
from tests.faults.verdict import create_effects, judge, looking, wait_for_rest

ORDERS = 300
ROOM = 700_000
"""Bytes a file may have: the database fits, its WAL soon does not."""


def test_a_full_disk_refuses_and_loses_nothing(migrated_sqlite_url: str, tmp_path: Path) -> None:
    create_effects(migrated_sqlite_url)
    with crew(migrated_sqlite_url, tmp_path) as processes:
        process = processes.join("full", "--client", str(ORDERS), "--file-limit", str(ROOM))
        process.wait_for("refused", 2)
        acknowledged = len(process.acknowledged)
        assert acknowledged < ORDERS
        process.send(signal.SIGUSR1)
        process.wait_for("done")
        wait_for_rest(migrated_sqlite_url)
        process.end()

        assert len(set(processes.acknowledged)) == ORDERS
        judge(migrated_sqlite_url, processes.acknowledged)
    with looking(migrated_sqlite_url) as engine, engine.connect() as connection:
        assert connection.execute(sa.text("PRAGMA integrity_check")).scalar_one() == "ok"


def test_a_process_killed_on_a_full_disk_goes_on_when_there_is_room(migrated_sqlite_url: str, tmp_path: Path) -> None:
    create_effects(migrated_sqlite_url)
    with crew(migrated_sqlite_url, tmp_path) as processes:
        process = processes.join("full", "--client", str(ORDERS), "--file-limit", str(ROOM))
        process.wait_for("refused", 2)
        process.kill()
        process = processes.join("full", "--client", str(ORDERS))
        process.wait_for("done")
        wait_for_rest(migrated_sqlite_url)

        assert len(set(processes.acknowledged)) == ORDERS
        judge(migrated_sqlite_url, processes.acknowledged)
