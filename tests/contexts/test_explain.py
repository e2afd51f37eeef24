"""Why a run does not move: planted causes, each with its one answer, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.waiting import wait_until_async
from windlass import Engine, signal, sleep, step, workflow
from windlass.bootstrap import Application, run_application
from windlass.contexts.people.api import wait_for_decision
from windlass.engine.errors import Withheld
from windlass.settings import Settings
from windlass.storage.explain import ADVICE, Explanation, explain_run

DAY = 86_400.0


@step(retries=3, backoff=DAY, jitter=0)
async def fails() -> None:
    raise ConnectionError("refused")


@step
async def lacks() -> None:
    raise Withheld("secret_missing")


@workflow(name="explain.retries")
async def retries() -> None:
    await fails()


@workflow(name="explain.sleeps")
async def sleeps() -> None:
    await sleep(days=1)


@workflow(name="explain.listens")
async def listens() -> None:
    await signal("go")


@workflow(name="explain.parent")
async def parent() -> None:
    await listens()


@workflow(name="explain.asks")
async def asks(kind: str) -> None:
    await wait_for_decision(step_id="ask", assigned_to="ann", kind=kind)


@workflow(name="explain.needs")
async def needs() -> None:
    await lacks()


@workflow(name="explain.breaks")
async def breaks() -> None:
    raise ValueError("broken")


@workflow(name="explain.done", queue="narrow")
async def done() -> None:
    return None


@workflow(name="explain.holds", queue="narrow")
async def holds(door: str) -> None:
    await signal(door)


@pytest.fixture
async def running(database_url: str) -> AsyncIterator[Application]:
    """The started application."""
    async with run_application(Settings(database_url=database_url, lease_seconds=5.0)) as application:
        yield application


@pytest.fixture
async def idle(database_url: str) -> AsyncIterator[Application]:
    """One whose runs nobody carries out."""
    settings = Settings(database_url=database_url, lease_seconds=5.0)
    async with run_application(settings, worker=False) as application:
        yield application


async def becomes(engine: Engine, run_id: str, reason: str) -> Explanation:
    """Wait until a run is explained so."""

    async def so() -> Explanation | None:
        found = await explain_run(engine, run_id)
        return found if found.reason == reason else None

    found = await wait_until_async(so, 20, f"{run_id} {reason}")
    assert found is not None
    return found


@pytest.mark.parametrize(
    "flow,arguments,reason,blocker,timed",
    [
        (retries, (), "retrying", "fails#1", True),
        (sleeps, (), "sleeping", None, True),
        (listens, (), "signal", "go", False),
        (asks, ("human",), "waiting_human", "ann", False),
        (asks, ("approval",), "waiting_approval", "ann", False),
        (needs, (), "secret_missing", None, False),
        (breaks, (), "failed", None, False),
        (done, (), "succeeded", None, False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_a_run_waits_for_is_named(
    running: Application, flow: Any, arguments: tuple[Any, ...], reason: str, blocker: str | None, timed: bool
) -> None:
    handle = await running.engine.start_run(flow, *arguments)

    found = await becomes(running.engine, handle.run_id, reason)

    assert (found.next_try is not None) == timed
    assert found.since is not None
    if blocker is not None:
        assert found.blocker is not None
        assert blocker in found.blocker
    assert (found.advice is not None) == (reason in ADVICE)


async def test_a_child_is_named(running: Application) -> None:
    handle = await running.engine.start_run(parent)

    found = await becomes(running.engine, handle.run_id, "child")

    assert found.blocker is not None
    assert (await becomes(running.engine, found.blocker, "signal")).blocker == "go"


async def test_pauses_say_whose_they_are(running: Application) -> None:
    handle = await running.engine.start_run(listens)
    await becomes(running.engine, handle.run_id, "signal")
    await running.engine.control(handle.run_id, "pause", reason="maintenance")

    assert (await becomes(running.engine, handle.run_id, "paused")).detail == "maintenance"


async def test_a_delayed_start_says_when(running: Application) -> None:
    handle = await running.engine.start_run(listens, delay=DAY)

    assert (await becomes(running.engine, handle.run_id, "delayed")).next_try is not None


async def test_queues_are_named(running: Application) -> None:
    engine = running.engine
    await engine.set_queue("narrow", limit=1)
    await engine.set_queue("shut", paused=True)
    shut = await engine.start_run(done, queue="shut")
    assert (await becomes(engine, shut.run_id, "queue_paused")).blocker == "shut"
    await engine.set_queue("*", paused=True)
    anywhere = await engine.start_run(done)
    assert (await becomes(engine, anywhere.run_id, "queue_paused")).blocker == "*"


async def test_without_a_process_that_knows_it_that_is_what_is_missing(idle: Application) -> None:
    handle = await idle.engine.start_run("explain.sleeps")
    assert (await becomes(idle.engine, handle.run_id, "no_worker")).blocker == "explain.sleeps"


async def test_what_only_accidents_bring_about_is_told_from_rows(idle: Application) -> None:
    engine = idle.engine

    async def planted(row: str) -> Explanation:
        handle = await engine.start_run("explain.sleeps")
        await engine.transact(
            lambda tx: tx.execute(f"UPDATE workflow_runs SET {row} WHERE run_id = :id", {"id": handle.run_id})
        )
        return await explain_run(engine, handle.run_id)

    asleep = "ready_at = NULL, started_at = created_at"
    gone = await planted(f"{asleep}, status = 'running', holder = 'nobody'")
    assert (gone.reason, gone.blocker) == ("holder_dead", "nobody")
    assert (await planted("status = 'paused', status_reason = 'poisoned'")).reason == "poisoned"
    assert (
        await planted(f"{asleep}, wait_reason = 'write_failed', wake_at = 9000000000000000")
    ).reason == "write_failed"
    assert (await planted(f"{asleep}, wait_reason = '2 things', status = 'running'")).reason == "several"
    assert (await planted(f"{asleep}, wait_reason = NULL, status = 'running'")).reason == "no_wake_up"
