"""The history of the database leads up to the tables the code describes, and back to nothing."""

import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from importlib import import_module
from itertools import product
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.paths import ROOT, SOURCE
from tests.support.schema import describe
from tests.support.warmth import warm
from windlass.storage import migrate, urls
from windlass.storage.schema import metadata

for tables in sorted((SOURCE / "contexts").rglob("tables.py")):
    import_module(".".join(("windlass", *tables.relative_to(SOURCE).with_suffix("").parts)))

Alembic = Callable[..., str]


@pytest.fixture(params=["sqlite_url", "pg_dsn"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind."""
    address: str = request.getfixturevalue(request.param)
    return address


@pytest.fixture
def alembic(url: str) -> Alembic:
    """Run Alembic's own command at the root of the repository, as an operator does."""

    def run(*arguments: str, ini: Path = ROOT / "alembic.ini", expect: int = 0) -> str:
        environment = {**os.environ, "DATABASE_URL": url}
        code, out, err = warm().run(["alembic", "-c", str(ini), *arguments], ROOT, environment)
        assert code == expect, out + err
        return out

    return run


def test_the_history_makes_what_the_code_describes(url: str, tmp_path: Path, alembic: Alembic) -> None:
    address = urls.parse(url).sqlalchemy
    engine = sa.create_engine(address, poolclass=sa.NullPool)
    metadata.create_all(engine)
    described = describe(address)
    metadata.drop_all(engine)

    alembic("upgrade", "head")

    assert describe(address, leave_out=["alembic_version"]) == described
    assert len(described) > 20


def test_alembic_finds_nothing_to_generate(url: str, tmp_path: Path, alembic: Alembic) -> None:
    folder = shutil.copytree(SOURCE / "migrations", tmp_path / "migrations")
    ini = tmp_path / "alembic.ini"
    ini.write_text((ROOT / "alembic.ini").read_text().replace("windlass:migrations", str(folder)))
    alembic("upgrade", "head")

    alembic("revision", "--autogenerate", "-m", "nothing", "--rev-id", "empty", ini=ini)

    written = (folder / "versions" / "empty_nothing.py").read_text()
    assert written.count("    pass") == 2
    assert f'down_revision = "{migrate.inspect(urls.parse(url)).head}"' in written.replace("'", '"')
    assert "No new upgrade operations" in alembic("check")


def test_alembic_finds_what_was_taken_away(url: str, alembic: Alembic) -> None:
    alembic("upgrade", "head")
    engine = sa.create_engine(urls.parse(url).sqlalchemy, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP INDEX ix_records_status_source"))
        connection.execute(sa.text("DROP INDEX ix_workflow_runs_wake"))

    alembic("check", expect=255)


def test_every_step_can_be_taken_back_and_again(url: str, alembic: Alembic) -> None:
    address = urls.parse(url).sqlalchemy
    alembic("upgrade", "head")
    full = describe(address)
    assert "(head)" in alembic("current")
    engine = sa.create_engine(address, poolclass=sa.NullPool)
    made = "INSERT INTO workflow_{} (run_id, {}, created_at) VALUES ('r', {}, '2026-01-01T00:00:00.000000Z')"
    with engine.begin() as connection:
        connection.execute(sa.text(made.format("runs", "name, status, inputs_json", "'w', 'running', '[1]'")))
        connection.execute(sa.text(made.format("events", "event_seq, event_type, payload_json", "1, 'e', '{}'")))

        counts = "INSERT INTO record_rollups (kind, period, status, category, value, amount)"
        counts += " VALUES ({}, 'failed', {}, '', 2)"
        for kind, category in product(
            ("'count', '2026-01-01'", "'count', ''", "'ended', '2026-01-01T07'"), ("'a'", "'b'")
        ):
            connection.execute(sa.text(counts.format(kind, category)))

    alembic("downgrade", "0023")
    alembic("upgrade", "head")
    with engine.begin() as connection:
        summed = "SELECT kind, period, status, value, amount FROM record_rollups WHERE category = '' ORDER BY kind"
        days, hours = connection.execute(sa.text(summed)).all()
        assert days == ("day", "2026-01-01", "failed", "", 4)
        assert hours == ("hour", "2026-01-01T07", "failed", "", 4)
    alembic("downgrade", "0022")
    alembic("upgrade", "head")
    assert describe(address) == full
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM workflow_events"))
        assert connection.scalars(sa.text("SELECT event_type FROM workflow_events")).all() == ["e"]
        connection.execute(sa.text("DELETE FROM workflow_runs WHERE name = 'w'"))
        assert connection.scalars(sa.text("SELECT event_type FROM workflow_events")).all() == []

    alembic("downgrade", "base")
    assert alembic("current") == ""
    assert describe(address, leave_out=["alembic_version", "alembic_version_pkc"]) == set()
    assert "0001" in alembic("history")


def test_alembic_says_in_a_line_what_is_wrong(tmp_path: Path) -> None:
    junk = tmp_path / "junk.db"
    junk.write_bytes(b"this is no database" * 500)
    for address, said in (
        ("mysql://x/y", "DATABASE_URL: 'mysql' is no known kind of database"),
        ("postgresql://x:y@127.0.0.1:9/z", "the database postgresql://x:***@127.0.0.1:9/z cannot be reached: "),
        (f"sqlite:///{junk}", "is damaged, or no SQLite file: file is not a database"),
        (f"sqlite:///{junk}/x.db", "File exists"),
    ):
        code, out, err = warm().run(["alembic", "current"], ROOT, {**os.environ, "DATABASE_URL": address})

        assert code == 255
        assert said in out + err
        assert "Traceback" not in err


def test_the_package_migrates_by_itself(url: str) -> None:
    database = urls.parse(url)
    assert migrate.inspect(database).current is None

    found = migrate.upgrade(database, nullcontext())

    assert found.matches
    assert migrate.upgrade(database, nullcontext()) == found
    assert migrate.downgrade(database, nullcontext(), "base").current is None


@pytest.mark.parametrize("spelling", ["postgres", "postgresql+asyncpg", "postgresql"])
def test_addresses_with_odd_passwords_work_in_alembic(spelling: str, pg_dsn: str) -> None:
    database = urls.parse(pg_dsn)
    password = "p@ss/w%rd:#?"
    engine = sa.create_engine(database.sqlalchemy, poolclass=sa.NullPool)
    role = f"odd_{spelling.replace('+', '_')}"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{password.replace('%', '%%')}'")
    made = database.sqlalchemy.set(drivername="postgresql", username=role, password=password)
    text = made.render_as_string(hide_password=False).replace("postgresql", spelling, 1) + "?pool_size=2"

    try:
        code, _, err = warm().run(["alembic", "upgrade", "head"], ROOT, {**os.environ, "DATABASE_URL": text})
        assert code == 0, err
        assert migrate.inspect(urls.parse(text)).matches
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP ROLE {role}")
