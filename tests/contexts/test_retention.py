"""What is old goes, in small batches; what an open run needs stays, whoever deletes; on both databases."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.commands import Windlass
from tests.support.definitions import definition, log
from tests.support.waiting import wait_until_async
from windlass.bootstrap import Application, run_application
from windlass.contexts.workflows.api import Order, SnapshotRetention
from windlass.contexts.workflows.runs import forgetting, snapshots
from windlass.contexts.workflows.runs.forgetting import remove_in
from windlass.contexts.workflows.runs.snapshots import canonical, digest_of
from windlass.engine.ports import Transaction
from windlass.kernel.actors import Actor
from windlass.storage import retention
from windlass.storage.retention import Old, Removed, Retention, trims
from windlass.storage.schema import LIVE

ANN = Actor("ann", "ann", role="admin")
FUTURE = "2100-01-01T00:00:00.000000Z"
WAIT = {"id": "wait", "type": "wait_for_human", "config": {"assigned_to_user_id": "ann"}}


async def start(running: Application, steps: list[Any], mode: str = "sync", key: str | None = None) -> str:
    order = Order(mode=mode, idempotency_key=key)
    return (await running.workflows.runs.start_adhoc(ANN, definition(steps), order)).run_id


async def waiting(running: Application) -> str:
    """A run of a definition that waits for somebody."""
    run_id = await start(running, [log("a"), WAIT, log("b")], mode="async")

    async def parked() -> bool:
        return (await running.engine.get_run(run_id)).status == "waiting_human"

    await wait_until_async(parked, what="the run to wait")
    return run_id


async def rows(running: Application, table: str, run_id: str) -> int:
    query = sa.text(f"SELECT count(*) FROM {table} WHERE run_id = :run_id")
    count: int = await running.engine.read(
        lambda connection: connection.execute(query, {"run_id": run_id}).scalar_one()
    )
    return count


async def test_old_runs_go_with_all_that_is_theirs_and_open_ones_stay(running: Application) -> None:
    ended = [await start(running, [log("a"), log("b")]) for _ in range(3)]
    parked = await waiting(running)
    kept = await rows(running, "workflow_events", parked)
    seen = await Retention(running.engine, dry=True).runs(FUTURE)

    removed = await Retention(running.engine, dry=False).runs(FUTURE)

    assert removed == seen
    assert (removed.runs, removed.kept) == (3, 0)
    for run_id in ended:
        assert await rows(running, "workflow_runs", run_id) == await rows(running, "workflow_events", run_id) == 0
    assert await rows(running, "workflow_runs", parked) == 1
    assert await rows(running, "workflow_events", parked) == kept
    await running.engine.control(parked, "cancel", by="ann")
    assert (await running.engine.get_run(parked)).status == "cancelled"


async def test_young_runs_stay(running: Application) -> None:
    run_id = await start(running, [log("a")])

    assert await Retention(running.engine, dry=False).runs("2020-01-01T00:00:00.000000Z") == Removed()
    assert await rows(running, "workflow_runs", run_id) == 1


async def test_a_trimmed_run_remembers_where_its_history_begins(running: Application) -> None:
    run_id = await start(running, [log("a"), log("b")])
    parked = await waiting(running)
    kept = await rows(running, "workflow_events", parked)
    had = await rows(running, "workflow_events", run_id)

    removed = await Retention(running.engine, dry=False).events(FUTURE)

    assert removed == Removed(0, had, 0)
    run = await running.engine.get_run(run_id)
    assert (run.status, run.history_from_seq) == ("succeeded", run.last_seq + 1)
    assert await rows(running, "workflow_events", parked) == kept
    assert await Retention(running.engine, dry=False).events(FUTURE) == Removed()


async def test_a_child_stays_while_a_run_above_it_is_open(running: Application) -> None:
    saved = await running.definitions.create(ANN, definition([log("inner")], name="child"))
    call = {"id": "call", "type": "workflow_call", "config": {"workflow_id": saved.id}}
    parent = await start(running, [call, WAIT], mode="async")

    async def parked() -> bool:
        return (await running.engine.get_run(parent)).status == "waiting_human"

    await wait_until_async(parked, what="the parent to wait")
    assert (await Retention(running.engine, dry=False).runs(FUTURE))[::2] == (0, 1)

    await running.engine.control(parent, "cancel", by="ann")
    assert (await Retention(running.engine, dry=False).runs(FUTURE))[::2] == (2, 0)


async def test_what_follows_an_end_keeps_its_run(running: Application) -> None:
    run_id = await start(running, [log("a")])
    query = sa.text(
        "INSERT INTO workflow_runs (run_id, name, status, inputs_json, created_at, wake_at)"
        " VALUES (:run_id, 'webhooks.complete', 'paused', '{}', '2026-01-01T00:00:00.000000Z', NULL)"
    )
    await running.engine.transact(lambda tx: tx.connection.execute(query, {"run_id": f"{run_id}.end7"}) and None)

    assert (await Retention(running.engine, dry=False).runs(FUTURE))[::2] == (0, 1)


async def test_a_key_outlives_its_run(running: Application) -> None:
    run_id = await start(running, [log("a")], key="once")
    await Retention(running.engine, dry=False).runs(FUTURE)
    query = sa.text("SELECT run_id FROM workflow_idempotency WHERE key LIKE '%once'")

    found = await running.engine.read(lambda connection: connection.execute(query).scalar_one())
    assert found == run_id


async def test_batches_are_bounded(running: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "ROWS", 5)
    monkeypatch.setattr(retention, "PAGE", 2)
    for _ in range(5):
        await start(running, [log(f"s{number}") for number in range(6)])

    removed = await Retention(running.engine, dry=False).runs(FUTURE)

    assert removed.runs == 5
    assert removed.events >= 5 * 12


async def test_what_runs_have_told_goes_with_them(running: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "ROWS", 4)
    ended, parked = await start(running, [log("a")]), await waiting(running)
    columns = ("run_id", "stream", "item_offset", "item_json", "created_at")
    items = [(run_id, "s", place, "1", FUTURE) for run_id in (ended, parked) for place in range(9)]
    await running.engine.transact(lambda tx: tx.insert_rows(LIVE[0], columns, items))
    gone: list[int] = []
    real = retention.trim_items_in

    def counted(tx: Transaction, run_ids: Sequence[str]) -> int:
        gone.append(real(tx, run_ids))
        return gone[-1]

    monkeypatch.setattr(retention, "trim_items_in", counted)

    assert (await Retention(running.engine, dry=False).runs(FUTURE)).runs == 1
    assert gone == [4, 4, 1]
    assert await rows(running, "workflow_stream_items", ended) == 0
    assert await rows(running, "workflow_stream_items", parked) == 9


async def test_definitions_that_no_run_needs_go(running: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "PAGE", 2)
    engine, kept = running.engine, running.workflows.runs.snapshots
    saved = await running.definitions.create(ANN, definition([log("inner")], name="callee"))
    call = {"id": "call", "type": "workflow_call", "config": {"workflow_id": saved.id}}
    parent = await start(running, [call, WAIT], mode="async")

    async def parked() -> bool:
        return (await engine.get_run(parent)).status == "waiting_human"

    await wait_until_async(parked, what="the parent to wait")
    documents = [definition([log(f"d{number}")]) for number in range(5)]
    for document in documents:
        await running.workflows.runs.start_adhoc(ANN, document, Order(mode="sync"))
    digests = [digest_of(canonical(document)) for document in documents]
    needed = {
        (await engine.get_run(parent)).inputs["digest"],
        digest_of(canonical(definition([log("inner")], name="callee"))),
    }
    await kept.keep(definition([log("kept for no run")]))

    async def change(text: str) -> None:
        await engine.transact(lambda tx: tx.connection.execute(sa.text(text)) and None)

    async def there() -> set[str]:
        query = sa.text("SELECT digest FROM workflow_snapshots")
        return await engine.read(lambda connection: {*connection.execute(query).scalars()})

    async def remove(*, dry: bool = False) -> int:
        return await SnapshotRetention(engine, dry=dry).remove(engine.clock.now())

    assert await remove() == 0
    await change("UPDATE workflow_snapshots SET last_used = 1")
    assert await remove(dry=True) == await remove() == 1
    assert await there() == {*digests, *needed}
    assert await engine.read(lambda connection: forgetting.needed_page(connection, "2000-01-01T00:00:00Z", None)) == (
        set(),
        None,
    )

    await change("DELETE FROM workflow_runs WHERE status = 'succeeded'")
    monkeypatch.setattr(snapshots, "DAY", 0)
    await kept.keep(documents[0])
    assert await engine.transact(lambda tx: remove_in(tx, digests[:1], engine.clock.now() - forgetting.SPARED)) == 0
    assert await remove() == 4
    assert await there() == {digests[0], *needed}


async def test_a_definition_that_is_just_being_used_stays(
    running: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "DAY", 0)
    document = definition([log("used again and again")])
    digest = digest_of(canonical(document))
    query = sa.text("SELECT last_used FROM workflow_snapshots WHERE digest = :digest")
    old = sa.text("UPDATE workflow_snapshots SET last_used = 1 WHERE digest = :digest")
    async with run_application(running.settings, worker=False) as other:
        for _ in range(20):
            await running.workflows.runs.snapshots.keep(document)
            await running.engine.transact(lambda tx: tx.connection.execute(old, {"digest": digest}) and None)
            await asyncio.gather(
                other.engine.transact(lambda tx: remove_in(tx, [digest], 2)),
                running.workflows.runs.snapshots.keep(document),
            )
            used = await running.engine.read(
                lambda connection: connection.execute(query, {"digest": digest}).scalar_one_or_none()
            )
            assert used is not None
            assert used > 1


def test_transactions_share_the_rows_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "ROWS", 10)
    runs = [Old("a", None, 1, 4, ""), Old("b", None, 5, 4, ""), Old("c", None, 1, 17, "")]

    assert trims(runs) == [[("a", 4), ("c", 6)], [("c", 16)], [("c", 17)]]


async def test_the_runbooks_own_delete_harms_no_open_run(running: Application) -> None:
    ended, parked = await start(running, [log("a")]), await waiting(running)
    kept = await rows(running, "workflow_events", parked)
    everything = sa.text("DELETE FROM workflow_events WHERE created_at < '2100-01-01'")
    await running.engine.transact(lambda tx: tx.connection.execute(everything) and None)

    assert await rows(running, "workflow_events", ended) == 0
    assert await rows(running, "workflow_events", parked) == kept
    await running.engine.control(parked, "pause", by="ann")
    await running.engine.control(parked, "resume", by="ann")

    async def parked_again() -> bool:
        return (await running.engine.get_run(parked)).status == "waiting_human"

    await wait_until_async(parked_again, what="the run to be replayed from its whole journal")


async def test_the_command_counts_first_and_removes_when_told(running: Application, tmp_path: Path) -> None:
    await start(running, [log("a")])
    windlass = Windlass(tmp_path, {"DATABASE_URL": running.settings.database_url})

    async def command(*arguments: str, code: int = 0) -> Any:
        return await asyncio.to_thread(windlass, "retention", *arguments, code=code)

    counted = (await command("--runs", "0", "--events", "0", "--artifacts", "0", "--json")).json
    removed = (await command("--runs", "0", "--artifacts", "0", "--yes", "--json")).json
    assert counted["dry_run"] is True
    assert counted["runs"]["runs"] == removed["runs"]["runs"] == 1
    assert removed["dry_run"] is False
    assert counted["definitions"] == removed["definitions"] == {"definitions": 0}
    assert removed["artifacts"]["artifacts"] == 0
    assert "0 runs, 0 events, 0 kept would be removed" in (await command("--runs", "30", "--dry-run")).out
    assert "say how old" in (await command(code=2)).err
    assert "different things" in (await command("--runs", "1", "--yes", "--dry-run", code=2)).err
