"""Journals as files: taken from a live engine or from the command line, and held against the code of today."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import windlass.testing
from tests.kit import healthy
from windlass import RunFailed, gather, signal, sleep, step, workflow
from windlass.bootstrap import run_application
from windlass.cli.main import app
from windlass.engine.registry import Registry
from windlass.kernel.errors import Invalid
from windlass.replay.recordings import read_all
from windlass.settings import load
from windlass.testing import JournalDiverged, Recording, record, replay

called: list[str] = []


@step
async def kit_charge(amount: int) -> str:
    called.append(f"charge {amount}")
    return f"paid {amount}"


@workflow(name="kit_order")
async def order(amount: int) -> list[Any]:
    paid = await kit_charge(amount)
    await sleep(days=14)
    return [paid, await signal("arrived", timeout=86_400)]


def changed(fn: Any) -> Any:
    return workflow(name="kit_order", registry=Registry())(fn)


async def charges_twice(amount: int) -> list[Any]:
    both = await gather(kit_charge(amount), kit_charge(amount))
    await sleep(days=14)
    return [*both, await signal("arrived", timeout=86_400)]


async def returns_less(amount: int) -> list[Any]:
    return (await order.fn(amount))[:1]  # type: ignore[no-any-return]


async def refuses(amount: int) -> list[Any]:
    await order.fn(amount)
    raise ValueError("no longer")


async def test_a_recorded_run_is_replayed_and_calls_no_step(tmp_path: Path) -> None:
    file = tmp_path / "order.json"
    async with windlass.testing.engine() as engine:
        handle = await engine.start_run(order, 5)
        await engine.until(handle.run_id)
        half = await record(engine, handle.run_id)
        await engine.signal(handle.run_id, "arrived", {"by": "ann"})
        assert await handle.result() == ["paid 5", {"by": "ann"}]
        whole = await record(engine, handle.run_id, file)
        with pytest.raises(RunFailed):
            await engine.run(healthy.saga)
        failed = await record(engine, next(run.run_id for run in await engine.list_runs() if run.status == "failed"))
    called.clear()

    assert replay(order, file).status == "succeeded"
    assert Recording.read(file.read_bytes()) == whole
    assert replay(order, half).waits == ("sleep#1",)
    assert replay(healthy.saga, failed).status == "failed"
    with pytest.raises(JournalDiverged, match="'kit_charge#1', which the code does not come to"):
        replay(changed(charges_twice), half)
    with pytest.raises(JournalDiverged, match=r'the run returned \["paid 5".*and now it returns \["paid 5"\]'):
        replay(changed(returns_less), file)
    with pytest.raises(JournalDiverged, match=r"ends as succeeded, and now it ends as failed: ValueError: no longer"):
        replay(changed(refuses), file)
    assert called == []


def test_the_command_line_prints_what_a_replay_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_template: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, file = f"sqlite:///{tmp_path / 'runs.db'}", tmp_path / "steps.json"
    (tmp_path / "runs.db").write_bytes(sqlite_template.read_bytes())

    async def live() -> str:
        async with run_application(load(database_url=url)) as made:
            handle = await made.engine.start_run(healthy.steps, 2)
            assert await handle.result(timeout=20) == ["0", "1", "thread"]
            return handle.run_id

    run_id = asyncio.run(live())
    monkeypatch.setenv("DATABASE_URL", url)
    capsys.readouterr()

    with pytest.raises(SystemExit) as ended:
        app(args=["runs", "journal", run_id], prog_name="windlass")

    assert ended.value.code == 0
    file.write_text(capsys.readouterr().out)
    assert len(json.loads(file.read_text())["events"]) == 8
    assert [*read_all(file)] == [Recording.read(file.read_bytes())]
    assert replay(healthy.steps, file).outputs == '["0","1","thread"]'


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    for text in ("{", "[]", '{"events":[]}', '{"events":[{}],"run_id":"r"}'):
        file.write_text(text)
        with pytest.raises(Invalid):
            replay(order, file)
