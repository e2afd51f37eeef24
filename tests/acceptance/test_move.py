"""A SQLite installation moves to PostgreSQL while it works, and goes on there: nothing lost, nothing twice."""

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.moving import APP, ASKING, HELLO, Asking, effects, here, there
from tests.support.commands import Windlass
from tests.support.receiver import Reply, receiving
from tests.support.service import running_service
from tests.support.waiting import wait_until
from windlass import settings
from windlass.bootstrap import visit_application

API = "/api/v1/workflows"
SAME = {
    "workflow_events": "SELECT run_id, event_seq, event_type, step_id FROM workflow_events ORDER BY run_id, event_seq",
    "workflow_runs": "SELECT run_id, status, name, queue, last_seq, wake_at, ready_at, holder FROM workflow_runs"
    " ORDER BY run_id",
    "records": "SELECT id, status, attempts, run_id FROM records ORDER BY id",
    "workflow_idempotency": "SELECT scope, key, run_id FROM workflow_idempotency ORDER BY scope, key",
    "workflow_human_tasks": "SELECT task_id, status, run_id FROM workflow_human_tasks ORDER BY task_id",
    "workflow_schedules": "SELECT id, cron, done_until, tick_run_id FROM workflow_schedules ORDER BY id",
    "audit_chain": "SELECT seq, id, hash FROM audit_chain ORDER BY seq",
    "users": "SELECT user_id, username, password_hash FROM users ORDER BY user_id",
}


async def tell(address: str, run_ids: list[str]) -> None:
    """Send the signal that listeners wait for."""
    async with visit_application(settings.load(database_url=address)) as application:
        for run_id in run_ids:
            await application.engine.signal(run_id, "go", "went")


async def begin(address: str) -> tuple[list[str], list[str], list[str]]:
    """Start runs that queue, runs that sleep, and runs that wait for a signal."""
    async with visit_application(settings.load(database_url=address)) as application:
        start = application.engine.start_run
        return (
            [(await start("moving.queued", queue="narrow", number=number)).run_id for number in range(20)],
            [(await start("moving.sleeper", seconds=12.0)).run_id for _ in range(5)],
            [(await start("moving.listener")).run_id for _ in range(3)],
        )


def asked(client: httpx2.Client, receiver_url: str) -> dict[str, Any]:
    """Start a run that asks, and whose end is told to somebody who does not listen yet."""
    body = {"definition": {**ASKING, "on_completion_webhook": f"{receiver_url}/end"}}
    answer = client.post(f"{API}/run", params={"mode": "async"}, json=body, headers={"Idempotency-Key": "asked"})
    assert answer.status_code in {200, 202}, answer.text
    found: dict[str, Any] = answer.json()
    return found


def arrived(done: dict[str, Any], folder: Path, dsn: str) -> None:
    """Look whether both databases hold the same."""
    assert done["carried_live"] > 0
    for table, query in SAME.items():
        assert here(folder / "workflow.db", query) == there(dsn, query), table
        assert done["rows"][table] == len(there(dsn, query)) > 0, table
    assert there(dsn, "SELECT count(*) FROM workflow_runs WHERE holder IS NOT NULL") == [(0,)]


def refuses(client: httpx2.Client, load: Asking) -> None:
    """Look what the old server says afterwards."""
    wait_until(lambda: load.refused, what="a refusal")
    assert load.refused[-1].json()["error"]["code"] == "MOVING"
    assert load.refused[-1].headers["retry-after"]
    wait_until(lambda: client.get("/records").status_code == 503, what="the old server to know")
    assert [client.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")] == [200, 503, 200]
    assert client.post(f"{API}/run", json={}).json()["code"] == "MOVING"


def once(folder: Path, dsn: str, runs: list[str]) -> None:
    """Look whether every step was done once, and every slot of the schedule was fired once."""
    done = effects(folder)
    assert done.most_common(1)[0][1] == 1
    for run in runs:
        assert len([line for line in done if line.startswith(run)]) == 2
    fired = there(dsn, "SELECT schedule_id, slot FROM workflow_schedule_fires WHERE slot IS NOT NULL")
    assert len(fired) == len(set(fired))
    assert here(folder / "workflow.db", "SELECT state FROM database_moves") == [("moved",)]


@pytest.mark.timeout(300)
def test_an_installation_moves_while_it_works(tmp_path: Path, pg_dsn: str) -> None:
    (tmp_path / "moving_app.py").write_text(APP)
    old = f"sqlite:///{tmp_path}/workflow.db"
    environment = {
        "WORKFLOWS_SCHEDULER_ENABLED": "true", "WORKFLOWS_EGRESS_ALLOWED_PORTS": "*",
        "WORKFLOWS_EGRESS_BLOCK_PRIVATE": "false", "WORKFLOWS_WEBHOOK_DLQ_BASE_SEC": "0.5", "LEASE_SECONDS": "3",
        "JWT_SECRET_KEY": "k" * 40, "WORKFLOWS_WEBHOOK_SECRET": "k", "DATABASE_URL": old,
    }  # fmt: skip
    windlass = Windlass(tmp_path, environment)
    with receiving() as receiver, ExitStack() as stack:
        receiver.usual = Reply(500)
        with running_service(tmp_path, "--app", "moving_app", environment=environment) as first:
            client = stack.enter_context(httpx2.Client(base_url=first.url, timeout=30))
            windlass("users", "add", "ann", "--role", "admin", stdin=b"correct horse\n")
            windlass("queues", "limit", "narrow", "1")
            schedule = windlass("schedules", "create", "* * * * *", "--workflow", "moving.sleeper", "--inputs",
                                '{"seconds": 0}', "--url", first.url).out.strip()  # fmt: skip
            narrow, sleepers, listeners = asyncio.run(begin(old))
            told = client.post(
                f"{API}/run",
                params={"mode": "sync"},
                json={"definition": {"name": "told", "steps": [HELLO], "on_completion_webhook": f"{receiver.url}/end"}},
            ).json()
            asking = asked(client, receiver.url)
            wait_until(lambda: client.get(f"{API}/inbox").json()["count"] == 1, what="the question")
            wait_until(lambda: receiver.received, what="a first attempt to tell of an end")
            load = Asking(first.url)
            stack.callback(load.close)
            load.start()
            wait_until(lambda: len(load.made) > 20, what="records")

            assert windlass("db", "move", "--to", pg_dsn, "--dry-run", "--json").json["problems"] == []
            done = windlass("db", "move", "--to", pg_dsn, "--json").json

            arrived(done, tmp_path, pg_dsn)
            refuses(client, load)
            assert "has been moved to postgresql://" in windlass("runs", "list", code=2).err
        load.over.set()
        load.join()
        receiver.usual = Reply(200)

        environment["DATABASE_URL"] = pg_dsn
        windlass = Windlass(tmp_path, environment)
        with running_service(tmp_path, "--app", "moving_app", environment=environment) as second:
            client = stack.enter_context(httpx2.Client(base_url=second.url, timeout=30))
            load.go_to(second.url)
            for key, record_id in list(load.made.items())[-5:]:
                load.ask(key)
                assert load.made[key] == record_id
            assert asked(client, receiver.url)["run_id"] == asking["run_id"]
            login = {"username": "ann", "password": "correct horse"}
            assert client.post("/auth/login", data=login).status_code == 200
            question = client.get(f"{API}/inbox").json()["items"][0]
            decided = client.post(f"{API}/runs/{asking['run_id']}/steps/{question['step_id']}/approve", json={})
            assert decided.status_code == 200, decided.text
            asyncio.run(tell(pg_dsn, listeners))
            runs = [*narrow, *sleepers, *listeners, asking["run_id"], told["run_id"]]
            wait_until(lambda: all(client.get(f"/runs/{run}").json()["status"] == "succeeded" for run in runs), 60)
            ends = {got.json["run"]["id"] for got in receiver.received}
            wait_until(lambda: {got.json["run"]["id"] for got in receiver.received} >= {asking["run_id"]}, 60)
            assert told["run_id"] in ends
            wait_until(
                lambda: there(pg_dsn, "SELECT count(*) FROM workflow_runs WHERE status IN ('running', 'queued')"
                              " AND name LIKE 'webhooks.%'") == [(0,)], 60, "deliveries")  # fmt: skip
            wait_until(lambda: client.get("/records?status=pending").json()["items"] == [], 60, "records")
            load.ask("one-more")
            assert windlass("schedules", "run-now", schedule, "--url", second.url).out
            assert "are as they were written" in windlass("audit", "verify").out
            assert {check["result"] for check in windlass("doctor", "--json").json["checks"]} == {"ok"}

    once(tmp_path, pg_dsn, [*narrow, *sleepers, *listeners])
    assert {row[0] for row in there(pg_dsn, "SELECT id FROM records")} == set(load.made.values())
