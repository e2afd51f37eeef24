"""Maintenance: once for all processes, durable, beside those who write."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psycopg

from tests.support.waiting import wait_until_async
from windlass.bootstrap import Application, run_application
from windlass.engine.types import RunFilter
from windlass.settings import Settings
from windlass.storage.sqlite import upkeep
from windlass.storage.sqlite.folder import RunFolder
from windlass.storage.upkeep import MAINTAIN

ALL: dict[str, Any] = {
    "workflows_db_maintenance_enabled": True, "workflows_db_maintenance_interval_sec": 30 * 86400,
    "workflows_sqlite_vacuum": True, "workflows_postgres_vacuum": True, "lease_seconds": 5.0,
}  # fmt: skip


def size(path: Path) -> int:
    """Bytes of a file."""
    return path.stat().st_size


async def done(application: Application) -> list[dict[str, Any]]:
    """What came of maintenance so far."""
    runs = await application.engine.list_runs(RunFilter(name=MAINTAIN))
    return [run.outputs for run in runs if run.outputs is not None]


async def test_a_database_is_looked_after_once_for_all_processes(database_url: str) -> None:
    sqlite = database_url.startswith("sqlite")
    async with AsyncExitStack() as stack:
        both = [
            await stack.enter_async_context(run_application(Settings(database_url=database_url, **ALL)))
            for _ in range(2)
        ]
        first, second = both
        await wait_until_async(lambda: done(first), 30)
        before = len(await done(first))  # two, where the month has just ended
        begun = await asyncio.gather(*(one.contexts.upkeep.begin(7) for one in both * 3))
        assert begun.count(True) == 1
        ids = [run.run_id for run in await second.engine.list_runs(RunFilter(name=MAINTAIN))]
        assert "maintenance-7" in ids
        assert len(ids) == before + 1
        answer = await first.engine.result("maintenance-7", timeout=30)
    if sqlite:
        assert (answer["vacuum"], answer["checkpoint"]["mode"]) == ("done", "TRUNCATE")
        assert not answer["checkpoint"]["busy"]
    else:
        assert answer == {"vacuum": "done", "tables": answer.get("tables")}
        with psycopg.connect(database_url) as raw:
            row = raw.execute(
                "SELECT count(*) FROM pg_stat_user_tables WHERE relname IN ('workflow_runs', 'workflow_events')"
                " AND last_vacuum IS NOT NULL AND last_analyze IS NOT NULL"
            ).fetchone()
        assert row == (2,)


async def test_nothing_is_begun_unless_it_is_wanted(database_url: str) -> None:
    more: dict[str, Any] = {"workflows_db_maintenance_enabled": False}
    async with run_application(Settings(database_url=database_url, **ALL | more)) as quiet:
        assert await quiet.engine.list_runs(RunFilter(name=MAINTAIN)) == []
    more = {"workflows_postgres_vacuum": False, "workflows_sqlite_checkpoint": "passive"}
    settings = Settings(database_url=database_url, **ALL | more)
    async with run_application(settings) as running:
        if database_url.startswith("sqlite"):
            [answer] = await wait_until_async(lambda: done(running), 30)
            assert answer["checkpoint"]["mode"] == "PASSIVE"
        else:
            assert running.contexts.upkeep._keeping is None, "there is nothing to do"


async def test_a_file_is_emptied_of_what_was_deleted_and_its_log_too(migrated_sqlite_url: str) -> None:
    path = Path(migrated_sqlite_url.removeprefix("sqlite:///"))
    async with run_application(Settings(database_url=migrated_sqlite_url, lease_seconds=5.0)) as running:

        def fill(tx: Any) -> None:
            tx.connection.exec_driver_sql("CREATE TABLE bulk (text TEXT)")
            tx.connection.exec_driver_sql(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
                " INSERT INTO bulk SELECT hex(randomblob(500)) FROM n"
            )

        await running.engine.transact(fill)
        await asyncio.to_thread(upkeep.maintain, path, "TRUNCATE", vacuum=False)
        full = size(path)
        await running.engine.transact(lambda tx: tx.connection.exec_driver_sql("DROP TABLE bulk"))
        log = path.with_name(f"{path.name}-wal")
        assert size(log) > 0
        with upkeep._alone(RunFolder(path)):
            skipped = await asyncio.to_thread(upkeep.maintain, path, "TRUNCATE", vacuum=True)
        answer = await asyncio.to_thread(upkeep.maintain, path, "TRUNCATE", vacuum=True)
        assert (size(path) < full / 2, size(log)) == (True, 0)

    assert skipped == {"skipped": "another maintenance goes on"}
    assert answer["bytes_after"] < answer["bytes_before"]
