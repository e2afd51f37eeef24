"""Why a run does not move: planted causes, each with one answer in Python, as a command, over HTTP and in figures."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from tests.support.apps import Served, serving
from tests.support.waiting import wait_until_async
from windlass import Engine, signal, sleep, step, updates, workflow
from windlass.bootstrap import run_application
from windlass.cli.client.protocol import RunQuery
from windlass.cli.work.runs import explain_run as command
from windlass.cli.work.runs import list_runs
from windlass.contexts.people.api import wait_for_decision
from windlass.engine.branches import gather
from windlass.engine.errors import Withheld
from windlass.settings import Settings
from windlass.storage.explain import ADVICE, explain_run
from windlass.storage.waits import WAITS

DAY = 86_400.0
DOORS: list[asyncio.Event] = []
PARKED = "ready_at = NULL, started_at = created_at, status = 'running'"


@step(retries=3, backoff=DAY, jitter=0)
async def fails() -> None:
    raise ConnectionError("refused")


@step
async def lacks() -> None:
    raise Withheld("secret_missing")


@step
async def lasts() -> None:
    door = asyncio.Event()
    DOORS.append(door)
    await door.wait()


@workflow(name="explain.retries")
async def retries() -> None:
    await fails()


@workflow(name="explain.sleeps")
async def sleeps() -> None:
    await sleep(days=1)


@workflow(name="explain.listens")
async def listens() -> None:
    await signal("go")


@workflow(name="explain.takes_updates")
async def takes_updates() -> None:
    await updates("change").receive()


@workflow(name="explain.listens_twice")
async def listens_twice() -> None:
    await gather(signal("one"), signal("two"))


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


@workflow(name="explain.done")
async def done() -> None:
    return None


@workflow(name="explain.works")
async def works() -> None:
    await lasts()


class Cause(NamedTuple):
    """How a run comes to wait, and what has to be said of it; ``timed``: a next try is known."""

    reason: str
    plant: Callable[[Engine], Awaitable[str]]
    blocker: str | None = None
    timed: bool = False
    detail: str | None = None


def started(flow: Any, *arguments: Any, **options: Any) -> Callable[[Engine], Awaitable[str]]:
    """A run that comes to wait by itself."""

    async def plant(engine: Engine) -> str:
        return (await engine.start_run(flow, *arguments, **options)).run_id

    return plant


def written(row: str) -> Callable[[Engine], Awaitable[str]]:
    """A run that only an accident, or somebody else, brings there."""

    async def plant(engine: Engine) -> str:
        run_id = (await engine.start_run(sleeps, queue="elsewhere")).run_id
        text = f"UPDATE workflow_runs SET {row} WHERE run_id = :id"
        await engine.transact(lambda tx: tx.execute(text, {"id": run_id}))
        return run_id

    return plant


async def paused(engine: Engine) -> str:
    """A run paused by somebody."""
    handle = await engine.start_run(listens)
    await reason_of(engine, handle.run_id, "signal")
    await engine.control(handle.run_id, "pause", reason="maintenance")
    return handle.run_id


CAUSES = [
    Cause("retrying", started(retries), "fails#1", timed=True, detail="ConnectionError: refused"),
    Cause("sleeping", started(sleeps), timed=True),
    Cause("signal", started(listens), "go"),
    Cause("update", started(takes_updates), "change"),
    Cause("several", started(listens_twice), "2 things"),
    Cause("child", started(parent)),
    Cause("waiting_human", started(asks, "human"), "ann"),
    Cause("waiting_approval", started(asks, "approval"), "ann"),
    Cause("paused", paused, detail="maintenance"),
    Cause("secret_missing", started(needs)),
    Cause("poisoned", written("status = 'paused', status_reason = 'poisoned'")),
    Cause("delayed", started(listens, delay=DAY), timed=True),
    Cause("step_running", started(works, queue="narrow"), "lasts#1"),
    Cause("queue_full", started(done, queue="narrow"), "narrow", detail="1 of 1 places are taken"),
    Cause("queue_paused", started(done, queue="shut"), "shut"),
    Cause("backlog", started(done, queue="elsewhere"), "elsewhere"),
    Cause("no_worker", written("name = 'explain.unknown'"), "explain.unknown"),
    Cause(
        "unknown_version",
        written("interface_version = '9'"),
        "explain.sleeps@9",
        detail="it is of version 9; live processes carry out 1",
    ),
    Cause("holder_dead", written(f"{PARKED}, holder = 'nobody'"), "nobody"),
    Cause("write_failed", written(f"{PARKED}, wait_reason = 'write_failed', wake_at = 9000000000000000"), timed=True),
    Cause("no_wake_up", written(f"{PARKED}, wait_reason = NULL")),
]
ENDS = [Cause("failed", started(breaks), detail="broken"), Cause("succeeded", started(done))]


def let_go() -> None:
    """Let steps end, so that nobody waits for them."""
    while DOORS:
        DOORS.pop().set()


async def reason_of(engine: Engine, run_id: str, reason: str) -> None:
    """Wait until a run is explained so."""

    async def so() -> bool:
        return (await explain_run(engine, run_id)).reason == reason

    await wait_until_async(so, 20, f"{run_id} {reason}")


@asynccontextmanager
async def manned(database_url: str) -> AsyncIterator[Served]:
    """An application that answers, and beside it a process that carries runs out, but not of every queue."""
    settings = Settings(database_url=database_url, lease_seconds=5.0)
    async with (
        serving(database_url, worker=False) as served,
        run_application(settings, worker=True, queues=("default", "narrow", "shut")),
    ):
        await served.inside.engine.set_queue("narrow", limit=1)
        await served.inside.engine.set_queue("shut", paused=True)
        yield served


async def test_every_cause_has_one_answer_wherever_it_is_asked(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    async with manned(database_url) as served:
        engine = served.inside.engine
        planted = [(cause, await cause.plant(engine)) for cause in (*CAUSES, *ENDS)]
        run_of = {cause.reason: run_id for cause, run_id in planted}
        for reason, run_id in run_of.items():
            await reason_of(engine, run_id, reason)

        for cause, run_id in planted:
            told = (await explain_run(engine, run_id))._asdict()
            assert (told["reason"], told["detail"] if cause.detail else None) == (cause.reason, cause.detail), told
            assert cause.blocker is None or cause.blocker in told["blocker"], told
            assert (told["next_try"] is not None) == cause.timed, told
            assert told["since"] is not None, told
            assert (told["advice"] is not None) == (cause.reason in ADVICE), told

            assert (await served.client.get(f"/runs/{run_id}/explain")).json() == told
            capsys.readouterr()
            await command(run_id, None, None, json=True)
            assert json.loads(capsys.readouterr().out) == told

        for reason in WAITS:
            listed = (await served.client.get(f"/runs?waiting_on={reason}&limit=1000")).json()["items"]
            found = {told for told, run_id in run_of.items() if run_id in {run["run_id"] for run in listed}}
            also = {"sleeping": {"retrying"}, "paused": {"poisoned", "secret_missing"}}.get(reason, set())
            assert found == {reason} | also

        child = (await explain_run(engine, run_of["child"])).blocker
        assert child is not None
        assert (await explain_run(engine, child)).blocker == "go"
        counted = Counter(cause.reason for cause in CAUSES) + Counter(signal=1)
        assert await figures(served) == counted

        failing = run_of["retrying"]
        found = (await served.client.get("/runs?failing=true&attempt_gte=1")).json()["items"]
        assert [run["run_id"] for run in found] == [failing]
        capsys.readouterr()
        await list_runs(RunQuery(failing=True, attempt_gte=1), None, None, json=True)
        assert json.loads(capsys.readouterr().out) == found
        let_go()


async def figures(served: Served) -> dict[str, int]:
    """The metric, by reason."""
    text = (await served.client.get("/metrics")).text
    prefix = 'windlass_runs_waiting{reason="'
    lines = [line.removeprefix(prefix) for line in text.splitlines() if line.startswith(prefix)]
    return {line.partition('"')[0]: int(float(line.rpartition(" ")[2])) for line in lines}


async def test_runs_of_definitions_are_listed_by_their_failed_attempts(served: Served) -> None:
    async def listed(query: str) -> list[str]:
        answer = await served.client.get(f"/api/v1/workflows/runs?{query}")
        assert answer.status_code == 200, answer.text
        return [run["run_id"] for run in answer.json()["runs"]]

    failing = {"id": "bad", "type": "prompt", "config": {"template": "{{ nobody.knows }}"}, "retry": 0}
    body = {"definition": {"name": "failing", "steps": [failing]}}
    run = (await served.client.post("/api/v1/workflows/run?mode=sync", json=body)).json()
    assert run["status"] == "failed"

    assert await listed("attempt_gte=1") == [run["run_id"]]
    assert await listed("attempt_gte=2") == []
    assert await listed("failing=true") == []
    refused = await served.client.get("/api/v1/workflows/runs?attempt_gte=0&failing=perhaps")
    assert [issue["loc"] for issue in refused.json()["detail"]] == [["query", "attempt_gte"], ["query", "failing"]]
    bulk = {"action": "retry", "filter": {"attempt_gte": 1, "failing": False}, "dry_run": True}
    assert (await served.client.post("/api/v1/workflows/runs/bulk", json=bulk)).json()["matched"] == 1


async def test_pauses_and_limits_of_all_queues_are_named(served: Served) -> None:
    engine = served.inside.engine
    holder = await engine.start_run(works)
    await reason_of(engine, holder.run_id, "step_running")
    await engine.set_queue("*", limit=1)
    waiting = await engine.start_run(done)
    assert (await explain_run(engine, waiting.run_id)).reason == "overall_full"
    await engine.set_queue("*", paused=True)
    found = await explain_run(engine, waiting.run_id)
    let_go()

    assert (found.reason, found.blocker) == ("queue_paused", "*")
