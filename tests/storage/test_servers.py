"""The servers the other tests stand on: real, separate, durable, and gone when their process is."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
import redis

from tests.support.paths import ROOT
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until


def test_a_fresh_database_is_empty_and_its_own(pg_dsn: str, pg_server_dsn: str) -> None:
    with psycopg.connect(pg_dsn) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        version = connection.info.server_version

    assert tables == (0,)
    assert version >= 150000
    assert urlsplit(pg_dsn).path != urlsplit(pg_server_dsn).path


def test_committed_rows_survive_a_crash_and_uncommitted_ones_do_not(private_pg: PostgresServer) -> None:
    with psycopg.connect(private_pg.dsn) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (1)")
    hanging = psycopg.connect(private_pg.dsn)
    hanging.execute("INSERT INTO kept VALUES (2)")

    private_pg.crash()
    with pytest.raises(psycopg.OperationalError):
        hanging.commit()
    hanging.close()
    private_pg.start()

    with psycopg.connect(private_pg.dsn) as connection:
        assert connection.execute("SELECT n FROM kept").fetchall() == [(1,)]


def test_a_stopped_server_starts_again_with_its_rows(private_pg: PostgresServer) -> None:
    with psycopg.connect(private_pg.dsn) as connection:
        connection.execute("CREATE TABLE kept (n int)")

    private_pg.stop()
    private_pg.start()

    with psycopg.connect(private_pg.dsn) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_valkey_is_empty_and_runs_scripts(valkey_url: str) -> None:
    with redis.Redis.from_url(valkey_url) as client:
        assert client.dbsize() == 0
        assert client.eval("return redis.call('incr', KEYS[1])", 1, "counter") == 1


def test_a_killed_test_process_leaves_no_server(tmp_path: Path) -> None:
    started = tmp_path / "started"
    script = (
        "import pathlib, signal\n"
        "from tests.support.postgres import PostgresServer\n"
        "server = PostgresServer(); server.start()\n"
        f"pathlib.Path({str(started)!r}).write_text(f'{{server.pid}} {{server.folder}}')\n"
        "signal.pause()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    wait_until(lambda: started.exists() and started.read_text(), timeout=60)
    pid, folder = started.read_text().split(" ", 1)

    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    wait_until(lambda: not psutil.pid_exists(int(pid)), timeout=30)
    wait_until(lambda: not Path(folder).exists(), timeout=30)
