"""A move that dies at any moment, that fails, that is undone: at every instant at most one database is in use."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.contexts.moving.killed import MOMENTS
from tests.contexts.moving.places import add, here, mover, settings, there
from tests.support.paths import ROOT
from tests.support.waiting import wait_until_async
from windlass import step, workflow
from windlass.bootstrap import Application, prepare_database, run_application
from windlass.kernel.actors import DEVELOPER
from windlass.kernel.errors import ConfigError, Conflict, Invalid, Moving, Unavailable
from windlass.settings import Settings
from windlass.storage.moving.marks import Lost
from windlass.storage.postgres.arrival import Arrival

EVENT = {"event_type": "x", "payload_json": "{}", "created_at": "2026-01-01T00:00:00.000000Z"}
RUN = {"name": "w", "status": "succeeded", "inputs_json": "{}", "created_at": "2026-01-01T00:00:00.000000Z"}
going = threading.Event()
done = threading.Event()
"""A step says that it goes on, and waits until it may end."""
times: list[str] = []


@step
def slow() -> str:
    going.set()
    done.wait()
    times.append("slow")
    return "slow"


@step
async def quick() -> str:
    times.append("quick")
    return "quick"


@workflow(name="moving.steps")
async def steps() -> list[str]:
    return [await slow(), await quick()]


@pytest.fixture
def old(migrated_sqlite_url: str) -> Path:
    """The file of an installation with a little history."""
    path = Path(migrated_sqlite_url.removeprefix("sqlite:///"))
    add(path, "workflow_runs", [{**RUN, "run_id": f"r{number}"} for number in range(3)])
    add(path, "workflow_events", [{**EVENT, "run_id": f"r{n}", "event_seq": seq} for n in range(3) for seq in (1, 2)])
    times.clear()
    going.clear()
    done.clear()
    return path


@pytest.fixture
def to(migrated_pg_dsn: str) -> str:
    """The address of the database to move to, whose tables are there."""
    return migrated_pg_dsn


@pytest.fixture
async def server(old: Path) -> AsyncIterator[Application]:
    """A server on the old database."""
    async with run_application(settings(old)) as application:
        yield application


def opens(url: str) -> bool:
    """Say whether a server would start on a database."""
    try:
        prepare_database(Settings(database_url=url))
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_move_that_is_killed_is_given_again(old: Path, to: str, moment: str) -> None:
    add(old, "records", [{"id": "a", "created_at": RUN["created_at"], "status": "pending", "source": "s",
                          "category": "c", "payload": "{}", "updated_at": RUN["created_at"]}])  # fmt: skip
    killed = subprocess.run(
        [sys.executable, "-m", "tests.contexts.moving.killed", str(old), to, moment],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert killed.returncode == 9, killed.stderr

    arrived = moment in {"committed", "moved"}
    assert not (opens(f"sqlite:///{old}") and opens(to))
    assert opens(to) is arrived
    if moment == "moved":
        with pytest.raises(Conflict, match="has been moved to postgresql://"):
            mover(old, to).move()
    else:
        report = mover(old, to).move()
        assert report.finished is arrived
        assert (report.rows["workflow_events"], report.rows["records"]) == (6, 1)
    assert here(old, "SELECT state FROM database_moves") == [("moved",)]
    assert there(to, "SELECT state FROM database_moves") == [("arrived",)]
    assert there(to, "SELECT count(*) FROM workflow_events") == [(6,)]
    assert (opens(f"sqlite:///{old}"), opens(to)) == (False, True)


@pytest.mark.parametrize("moment", ["frozen", "committed"])
def test_a_move_that_was_killed_can_be_undone_too(old: Path, to: str, moment: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "tests.contexts.moving.killed", str(old), to, moment],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))},
        check=False,
    )  # fmt: skip

    mover(old, to).undo()

    assert (opens(f"sqlite:///{old}"), opens(to)) == (True, False)
    assert mover(old, to).move().rows["workflow_events"] == 6


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not"])
def test_a_commit_whose_answer_is_lost_is_asked_for(
    old: Path, to: str, committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = Arrival.finish

    def cut(self: Arrival, *given: Any) -> None:
        if committed:
            finish(self, *given)
        raise Lost("cut")

    monkeypatch.setattr(Arrival, "finish", cut)
    if committed:
        assert mover(old, to).move().rows["workflow_events"] == 6
    else:
        with pytest.raises(Unavailable, match=r"the last commit failed .*nothing was moved, servers go on"):
            mover(old, to).move()
    assert (opens(f"sqlite:///{old}"), opens(to)) == (not committed, True)
    assert there(to, "SELECT count(*) FROM workflow_events") == [(6 if committed else 0,)]


async def test_servers_drain_and_no_step_is_done_twice(old: Path, to: str, server: Application) -> None:
    run = await server.engine.start_run(steps)
    await asyncio.to_thread(going.wait)
    moving = asyncio.create_task(asyncio.to_thread(mover(old, to).move))
    await wait_until_async(lambda: server.gate.closed is not None, what="the server to hear of it")
    done.set()
    await moving

    with pytest.raises(Moving):
        await server.engine.start_run(steps)
    assert not server.engine.worker.runs
    async with run_application(Settings(database_url=to)) as new:
        assert await new.engine.result(run.run_id) == ["slow", "quick"]
    assert times == ["slow", "quick"]


async def test_a_server_that_does_not_drain_is_named_and_goes_on(old: Path, to: str, server: Application) -> None:
    run = await server.engine.start_run(steps)
    await asyncio.to_thread(going.wait)

    with pytest.raises(Unavailable, match=rf"process {os.getpid()} on .* \(1 runs\)\. Nothing was moved"):
        await asyncio.to_thread(mover(old, to, drain_seconds=1.5).move)

    await wait_until_async(lambda: server.gate.closed is None, what="the server to be open again")
    done.set()
    await wait_until_async(lambda: not server.engine.worker.stopping, what="the server to work again")
    assert await run.result() == ["slow", "quick"]
    assert times == ["slow", "quick"]
    assert there(to, "SELECT * FROM database_moves") == there(to, "SELECT * FROM workflow_runs") == []


async def test_what_changes_while_history_is_carried_is_not_missed(old: Path, to: str, server: Application) -> None:
    """Events are added and deleted between the copy and its comparison, and a run is removed with its events."""
    changed: list[str] = []

    def change(what: str, _done: int, _total: int | None) -> None:
        if what == "comparing workflow_events" and not changed:
            changed.append(what)
            add(old, "workflow_events", [{**EVENT, "run_id": "r0", "event_seq": 3}])
            here(old, "DELETE FROM workflow_runs WHERE run_id = 'r2'")

    done.set()
    report = await asyncio.to_thread(mover(old, to, change).move)

    found = "SELECT run_id, event_seq FROM workflow_events ORDER BY run_id, event_seq"
    assert changed
    assert there(to, found) == here(old, found) == [("r0", 1), ("r0", 2), ("r0", 3), ("r1", 1), ("r1", 2)]
    assert report.rows["workflow_events"] == 5


async def test_the_way_back_is_open_until_the_new_database_is_used(old: Path, to: str) -> None:
    move = mover(old, to)
    with pytest.raises(Conflict, match="nothing to undo"):
        move.undo()
    move.move()
    move.undo()
    assert (opens(f"sqlite:///{old}"), opens(to)) == (True, False)
    mover(old, to).move()

    async with run_application(Settings(database_url=to)) as new:
        with pytest.raises(Conflict, match="a process works on"):
            await asyncio.to_thread(mover(old, to).undo)
        await new.records.create(b'{"source": "s", "category": "c", "payload": {"a": 1}}')

    with pytest.raises(Conflict, match="has been used, going back would lose that: record"):
        mover(old, to).undo()
    assert (opens(f"sqlite:///{old}"), opens(to)) == (False, True)


async def test_what_the_dead_held_is_given_back_and_the_audit_log_holds(old: Path, to: str) -> None:
    async with run_application(settings(old), worker=False) as server:
        for number in range(3):
            await server.identity.note(DEVELOPER, "run.cancel", f"run:{number}")
        run = await server.engine.start_run(steps)
    here(old, f"UPDATE workflow_runs SET holder = 'dead', status = 'running' WHERE run_id = '{run.run_id}'")
    add(old, "workflow_leases", [{"holder": "dead", "host": "h", "pid": 1, "state": "live", "workflows": "",
                                  "started_at": RUN["created_at"], "expires_at": RUN["created_at"]}])  # fmt: skip
    done.set()

    await asyncio.to_thread(mover(old, to).move)

    assert there(to, f"SELECT holder, deaths FROM workflow_runs WHERE run_id = '{run.run_id}'") == [(None, 1)]
    async with run_application(Settings(database_url=to)) as new:
        assert await new.engine.result(run.run_id) == ["slow", "quick"]
        await new.identity.note(DEVELOPER, "run.cancel", "run:3")
        verdict = await new.identity.verify()
    assert (verdict.problems, verdict.checked) == ([], 4)


def test_what_is_in_the_way_is_said(old: Path, pg_dsn: str, to: str) -> None:
    there(to, "INSERT INTO tenants VALUES ('t', now()) RETURNING 1")
    plan = mover(old, to).plan()
    assert plan.target_state == "not empty"
    assert "is not empty (1 in tenants) and is not overwritten: name an empty database" in plan.problems[0]
    with pytest.raises(Conflict, match="is not empty"):
        mover(old, to).move()
    away = "postgresql://nobody@127.0.0.1:1/x"
    assert "cannot be reached" in mover(old, away).plan().problems[0]
    with pytest.raises(Unavailable, match="cannot be reached"):
        mover(old, away).move()
    with pytest.raises(Invalid, match="is not PostgreSQL"):
        mover(old, f"sqlite:///{old}")
    with pytest.raises(Invalid, match="there is no database"):
        mover(old.with_name("none.db"), pg_dsn).plan()
    assert mover(old, pg_dsn).plan().target_state == "empty: its tables will be made"
    assert opens(f"sqlite:///{old}")
