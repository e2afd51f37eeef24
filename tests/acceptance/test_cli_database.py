"""The commands about the database: its version, its health, how fast it is, and what the program says of itself."""

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.commands import Windlass, started
from windlass import __version__

HEAVY = ("pydantic", "sqlalchemy", "fastapi", "starlette", "uvicorn", "httpx2", "rich", "orjson", "asyncio", "alembic")
EVERY_HELP = f"""
import contextlib, io, sys
import typer
from windlass.cli.main import app

def paths(command, path=()):
    yield path
    for name, child in getattr(command, "commands", {{}}).items():
        yield from paths(child, (*path, name))

command = typer.main.get_command(app)
every = list(paths(command))
for path in every:
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        command(args=[*path, "--help"], prog_name="windlass")
    assert "Usage: windlass" in printed.getvalue(), path
print(len(every), [name for name in {HEAVY} if name in sys.modules])
"""


def test_help_of_every_command_loads_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", EVERY_HELP], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    number, loaded = done.stdout.split(maxsplit=1)
    assert int(number) > 25
    assert loaded.strip() == "[]"


def test_the_database_goes_up_and_down(tmp_path: Path) -> None:
    windlass = Windlass(tmp_path, {})

    assert "run `windlass db upgrade`" in windlass("db", "check", code=1).err
    assert windlass("db", "upgrade").out.startswith("sqlite:///workflow.db went from no version to ")
    assert windlass("db", "check").out.endswith("as it should be\n")
    current = windlass("db", "current", "--json").json
    assert (current["current"], current["up_to_date"]) == (current["head"], True)
    assert "say --yes if that is meant" in windlass("db", "downgrade", "base", code=2).err
    assert "to no version" in windlass("db", "downgrade", "base", "--yes").out


def test_settings_are_shown_without_secrets(tmp_path: Path) -> None:
    url = "postgresql://ann:s3cret@db.example/x"
    windlass = Windlass(tmp_path, {"API_KEY": "s3cret-key", "DATABASE_URL": url})

    shown = windlass("config", "--json")

    assert "s3cret" not in shown.out
    assert shown.json["DATABASE_URL"] == "postgresql://ann:***@db.example/x"
    assert shown.json["PORT"] == 8000
    lines = dict(line.split(maxsplit=1) for line in windlass("config").out.splitlines())
    assert (lines["APP_MODULES"], lines["LOG_FILE"]) == ("-", "-")
    assert windlass("version", "--json").json["windlass"] == __version__


@pytest.mark.parametrize("url", ["migrated_sqlite_url", "migrated_pg_dsn"], ids=["sqlite", "postgres"])
def test_the_doctor_finds_what_is_adrift_and_mends_it(request: pytest.FixtureRequest, tmp_path: Path, url: str) -> None:
    address: str = request.getfixturevalue(url)
    windlass = Windlass(tmp_path, {"DATABASE_URL": address})
    checks = {check["check"]: check["result"] for check in windlass("doctor", "--json").json["checks"]}
    assert set(checks.values()) == {"ok"}
    assert {"database", "schema", "runs", "processes", "queue", "counts"} <= set(checks)

    lost, orphan = (asyncio.run(started(address, "flow")) for _ in range(2))
    spoil(address, f"UPDATE workflow_runs SET ready_at = NULL WHERE run_id = '{lost}'")
    spoil(address, f"UPDATE workflow_runs SET ready_at = NULL, holder = 'gone' WHERE run_id = '{orphan}'")

    found = windlass("doctor", code=1)
    assert "2 adrift" in found.out
    assert f"{lost} (flow): nobody holds it and nothing will wake it" in found.out
    assert f"{orphan} (flow): its holder is dead" in found.out
    assert "runs: windlass doctor --repair" in found.err

    mended = {check["check"]: check for check in windlass("doctor", "--repair", "--json", code=1).json["checks"]}
    assert mended["repair"]["said"] == "dead processes ended: 1; their runs given back: 1; runs woken: 1"
    assert mended["runs"]["result"] == "ok"
    assert mended["queue"]["said"] == "no live process carries out flow (2)"

    spoil(address, f"UPDATE workflow_runs SET interface_version = '2' WHERE run_id = '{lost}'")
    assert "no live process carries out flow (1), flow@2 (1)" in windlass("doctor", code=1).out


def spoil(address: str, statement: str) -> None:
    """Change a database behind everybody's back."""
    engine = sa.create_engine(address)
    with engine.begin() as connection:
        assert connection.execute(sa.text(statement)).rowcount == 1
    engine.dispose()


def test_the_doctor_says_when_there_is_no_database(tmp_path: Path) -> None:
    windlass = Windlass(tmp_path, {"DATABASE_URL": "postgresql://x:y@127.0.0.1:9/z"})

    done = windlass("doctor", code=1)

    assert done.out.splitlines()[1].split()[:2] == ["database", "failed"]
    assert "start it, or mend DATABASE_URL" in done.err


def test_a_file_that_is_no_database_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "workflow.db").write_bytes(b"this is no database" * 500)
    windlass = Windlass(tmp_path, {})

    for command in (("db", "current"), ("db", "upgrade"), ("records", "summary"), ("serve", "--port", "0")):
        done = windlass(*command, code=2)
        assert "sqlite:///workflow.db is damaged, or no SQLite file: file is not a database" in done.err
        assert "restore the last backup (docs/runbook.md, Database Corruption)" in done.err

    (found,) = windlass("doctor", "--json", code=1).json["checks"]
    assert (found["check"], found["result"], found["advice"]) == ("database", "failed", "")
    assert "is damaged" in found["said"]


def test_the_doctor_finds_damage_in_the_pages(tmp_path: Path) -> None:
    windlass = Windlass(tmp_path, {})
    windlass("db", "upgrade")
    with contextlib.closing(sqlite3.connect(tmp_path / "workflow.db")) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = raw.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'records'").fetchone()
        (size,) = raw.execute("PRAGMA page_size").fetchone()
    with (tmp_path / "workflow.db").open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)

    checks = {check["check"]: check for check in windlass("doctor", "--json", code=1).json["checks"]}

    assert checks["schema"]["result"] == "ok"
    assert checks["file"]["result"] == "failed"
    assert "restore the last backup" in checks["file"]["said"]
    assert "runs" not in checks


def test_the_doctor_does_not_advise_to_upgrade_a_newer_database(tmp_path: Path) -> None:
    windlass = Windlass(tmp_path, {})
    windlass("db", "upgrade")
    spoil(f"sqlite:///{tmp_path}/workflow.db", "UPDATE alembic_version SET version_num = '9999'")

    done = windlass("doctor", code=1)

    assert "made by a newer version; update this one" in " ".join(done.out.split())
    assert "db upgrade" not in done.out + done.err


def test_a_revision_that_is_none_is_named_with_those_that_are(tmp_path: Path) -> None:
    windlass = Windlass(tmp_path, {})

    unknown = windlass("db", "upgrade", "nope", code=2).err
    nothing = windlass("db", "downgrade", "-1", "--yes", code=2).err
    windlass("db", "upgrade")
    too_far = windlass("db", "downgrade", "-99", "--yes", code=2).err

    head = windlass("db", "current", "--json").json["head"]
    assert "there is no revision nope to go to: the revisions are base, " in unknown
    assert f"{head} (head), and the database sqlite:///workflow.db is empty" in unknown
    assert "sqlite:///workflow.db is empty: there is nothing to take back" in nothing
    assert "there is no revision -99 to go to" in too_far


@pytest.mark.parametrize("url", ["sqlite_url", "pg_dsn"], ids=["sqlite", "postgres"])
def test_the_benchmark_leaves_nothing_behind(request: pytest.FixtureRequest, tmp_path: Path, url: str) -> None:
    address: str = request.getfixturevalue(url)
    windlass = Windlass(tmp_path, {"DATABASE_URL": address})

    measures = windlass("bench", "--seconds", "0.1", "--json").json["measures"]

    assert len(measures) == 5
    assert all(measure["per_second"] > 0 and measure["p50_ms"] > 0 for measure in measures)
    assert json.loads(windlass("db", "current", "--json").out)["current"] is None
    assert list(tmp_path.iterdir()) == []
    if url == "pg_dsn":
        assert schemas(address) == {"public"}


def schemas(address: str) -> set[str]:
    """The schemas of a PostgreSQL database that are not its own."""
    engine = sa.create_engine(address)
    names = set(sa.inspect(engine).get_schema_names())
    engine.dispose()
    return names - {"information_schema"}
