"""A copy of the whole database: made while others write, looked through, and put back; on both databases."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.commands import Windlass
from tests.support.databases import fresh_postgres
from tests.support.definitions import definition, log
from windlass.bootstrap import Application, run_application
from windlass.contexts.workflows.api import Order
from windlass.engine.errors import RunCancelled
from windlass.kernel.actors import Actor
from windlass.kernel.errors import ConfigError
from windlass.settings import Settings
from windlass.storage import urls
from windlass.storage.backups import api, lite, postgres
from windlass.storage.backups.contents import Contents

ANN = Actor("ann", "ann", role="admin")
WAIT = {"id": "wait", "type": "wait_for_human", "config": {"assigned_to_user_id": "ann"}}


async def start(running: Application, steps: list[Any], mode: str = "sync") -> str:
    return (await running.workflows.runs.start_adhoc(ANN, definition(steps), Order(mode=mode))).run_id


def parts(folder: Path) -> list[str]:
    """What is left of copies that did not come about."""
    return [path.name for path in folder.iterdir() if path.name.endswith(".part")]


async def status(running: Application, run_id: str) -> str:
    return (await running.engine.get_run(run_id)).status


@pytest.fixture
def empty_url(database_url: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a copy of the database can be put."""
    if database_url.startswith("sqlite"):
        yield f"sqlite:///{tmp_path / 'restored' / 'windlass.db'}"
        return
    with fresh_postgres(request.getfixturevalue("pg_server_dsn")) as dsn:
        yield dsn


@pytest.fixture
async def running(database_url: str) -> AsyncIterator[Application]:
    async with run_application(Settings(database_url=database_url, lease_seconds=2.0)) as application:
        yield application


async def test_what_is_acknowledged_before_is_in_a_copy_made_while_others_write(
    running: Application, empty_url: str, tmp_path: Path
) -> None:
    ended = [await start(running, [log("a"), log("b")]) for _ in range(5)]
    parked = await start(running, [log("a"), WAIT, log("b")], mode="async")
    stop = asyncio.Event()

    async def write() -> int:
        count = 0
        while not stop.is_set():
            await start(running, [log("x")], mode="async")
            count += 1
        return count

    writers = [asyncio.ensure_future(write()) for _ in range(4)]
    file = tmp_path / "copy"
    url = urls.parse(running.settings.database_url)
    made = await asyncio.to_thread(api.backup, url, file)
    stop.set()
    counts = await asyncio.gather(*writers)

    assert sum(counts) > 0
    assert made.rows["workflow_runs"] >= 6
    assert api.verify(file).rows == made.rows
    restored = await asyncio.to_thread(api.restore, file, urls.parse(empty_url))
    assert (restored.rows, restored.adrift) == (made.rows, [])
    async with run_application(Settings(database_url=empty_url, lease_seconds=2.0)) as other:
        assert [await status(other, run_id) for run_id in ended] == ["succeeded"] * 5
        events = await running.engine.events(ended[0], since=0, limit=100)
        assert await other.engine.events(ended[0], since=0, limit=100) == events
        await other.engine.control(parked, "cancel", by="ann")
        with pytest.raises(RunCancelled):
            await other.engine.result(parked, 60)
        assert await status(other, parked) == "cancelled"
        assert await status(other, await start(other, [log("new")])) == "succeeded"


async def test_the_runs_of_a_copy_go_on(running: Application, empty_url: str, tmp_path: Path) -> None:
    url = urls.parse(running.settings.database_url)
    waits = [{"id": "nap", "type": "delay", "config": {"milliseconds": 3000}}, log("after")]
    napping = await start(running, waits, mode="async")
    await asyncio.to_thread(api.backup, url, tmp_path / "copy")

    await asyncio.to_thread(api.restore, tmp_path / "copy", urls.parse(empty_url))

    async with run_application(Settings(database_url=empty_url, lease_seconds=2.0)) as other:
        await other.engine.result(napping, 60)
        assert await status(other, napping) == "succeeded"


async def test_nothing_is_overwritten(running: Application, tmp_path: Path) -> None:
    url = urls.parse(running.settings.database_url)
    file = tmp_path / "copy"
    file.write_text("mine")

    with pytest.raises(ConfigError, match="is not overwritten"):
        api.backup(url, file)
    assert file.read_text() == "mine"

    file.unlink()
    api.backup(url, file)
    with pytest.raises(ConfigError, match="is not overwritten"):
        api.restore(file, url)
    assert parts(tmp_path) == []


async def test_a_file_that_comes_meanwhile_is_kept(
    running: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, file = urls.parse(running.settings.database_url), tmp_path / "copy"
    module = lite if url.path is not None else postgres
    looked: Callable[..., Contents] = module.verify

    def slow(*args: Any, **options: Any) -> Contents:
        file.write_text("theirs")
        return looked(*args, **options)

    monkeypatch.setattr(module, "verify", slow)
    with pytest.raises(ConfigError, match="is not overwritten"):
        api.backup(url, file)

    assert file.read_text() == "theirs"
    assert parts(tmp_path) == []


async def test_a_damaged_copy_is_refused_and_leaves_nothing(
    running: Application, empty_url: str, tmp_path: Path
) -> None:
    url, file = urls.parse(running.settings.database_url), tmp_path / "copy"
    await start(running, [log(f"step{number}") for number in range(40)])
    api.backup(url, file)
    whole = file.read_bytes()
    short = tmp_path / "short"
    short.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(ConfigError, match="damaged"):
        api.verify(short)
    with pytest.raises(ConfigError, match="damaged"):
        api.restore(short, urls.parse(empty_url))
    junk = tmp_path / "junk"
    junk.write_bytes(b"no database at all")
    with pytest.raises(ConfigError, match="is no backup"):
        api.verify(junk)
    restored = api.restore(file, urls.parse(empty_url))
    assert restored.rows == api.verify(file).rows


def test_a_copy_is_one_file_that_sqlite_reads(migrated_sqlite_url: str, tmp_path: Path) -> None:
    api.backup(urls.parse(migrated_sqlite_url), tmp_path / "copy.db")

    with sqlite3.connect(tmp_path / "copy.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert sorted(path.name for path in tmp_path.glob("copy.db*")) == ["copy.db"]


def test_a_cold_copy_with_its_log_is_read_whole(migrated_sqlite_url: str, tmp_path: Path) -> None:
    path = Path(migrated_sqlite_url.removeprefix("sqlite:///"))
    folder = tmp_path / "cold"
    folder.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("INSERT INTO workflow_queues (queue, paused) VALUES ('q', 0)")
    connection.commit()
    for end in ("", "-wal"):
        shutil.copy(f"{path}{end}", folder / f"copy.db{end}")
    connection.close()

    assert api.verify(folder / "copy.db").rows["workflow_queues"] == 1


def test_a_copy_of_the_other_kind_is_refused(migrated_sqlite_url: str, pg_dsn: str, tmp_path: Path) -> None:
    api.backup(urls.parse(migrated_sqlite_url), tmp_path / "copy.db")

    with pytest.raises(ConfigError, match="is a copy of a sqlite database"):
        api.restore(tmp_path / "copy.db", urls.parse(pg_dsn))


def test_the_log_of_a_former_database_is_not_mixed_in(migrated_sqlite_url: str, tmp_path: Path) -> None:
    api.backup(urls.parse(migrated_sqlite_url), tmp_path / "copy.db")
    (tmp_path / "new.db-wal").write_bytes(b"old")

    with pytest.raises(ConfigError, match="belongs to a former database"):
        api.restore(tmp_path / "copy.db", urls.parse(f"sqlite:///{tmp_path / 'new.db'}"))


def test_the_commands_say_what_a_copy_holds(database_url: str, empty_url: str, tmp_path: Path) -> None:
    windlass = Windlass(tmp_path, {"DATABASE_URL": database_url})

    made = windlass("backup", "copy", "--json").json
    again = windlass("backup", "copy", code=2)
    looked = windlass("verify", "copy")
    there = Windlass(tmp_path, {"DATABASE_URL": empty_url})
    restored = there("restore", "copy", "--json").json

    assert made["file"] == "copy"
    assert made["rows"]["workflow_runs"] == 0
    assert made["bytes"] == (tmp_path / "copy").stat().st_size
    assert "copy is there already and is not overwritten" in again.err
    assert "copy is whole: at 0" in looked.out
    assert (restored["rows"], restored["adrift"], restored["version"]) == (made["rows"], [], made["version"])
    assert "as it should be" in there("db", "check").out


def test_a_run_adrift_in_a_copy_is_a_finding(migrated_sqlite_url: str, tmp_path: Path) -> None:
    engine = sa.create_engine(urls.parse(migrated_sqlite_url).sqlalchemy)
    with engine.begin() as connection:
        connection.execute(sa.text(
            "INSERT INTO workflow_runs (run_id, name, status, inputs_json, created_at)"
            " VALUES ('lost', 'w', 'running', '{}', '2026-01-01T00:00:00.000000Z')"
        ))  # fmt: skip
    engine.dispose()
    windlass = Windlass(tmp_path, {"DATABASE_URL": migrated_sqlite_url})

    assert "run lost (w) is adrift" in windlass("backup", "copy.db", code=1).out
    found = windlass("verify", "copy.db", "--json", code=1)
    assert [run["run_id"] for run in json.loads(found.out)["adrift"]] == ["lost"]


def test_without_pg_dump_it_is_said_how_to_get_it(
    migrated_pg_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_candidates", lambda _name: iter(()))

    with pytest.raises(ConfigError, match="there is no pg_dump: install PostgreSQL's client programs"):
        api.backup(urls.parse(migrated_pg_dsn), tmp_path / "copy")
