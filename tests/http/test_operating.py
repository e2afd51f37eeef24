"""Looking after the service: health checks, the settings in force, figures."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from tests.support.apps import Served, serving
from tests.support.definitions import definition, log
from windlass.storage.migrate import newest

COUNTED = {
    "workflows_runs_started",
    "workflows_runs_completed",
    "workflows_runs_failed",
    "workflows_steps_started",
    "workflows_steps_succeeded",
    "workflows_steps_failed",
    "workflows_webhook_deliveries",
}
FAILING = {"id": "bad", "type": "prompt", "config": {"template": "{{ nobody.knows }}"}, "retry": 0}


async def run(served: Served, steps: list[Any]) -> str:
    body = {"definition": definition(steps)}
    answer = await served.client.post("/api/v1/workflows/run?mode=sync", json=body)
    assert answer.status_code == 200, answer.text
    status: str = answer.json()["status"]
    return status


async def figures(served: Served) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample of the JSON metrics, by its name and the values of its labels in the order of their names."""
    answer = await served.client.get("/api/v1/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample["name"], tuple(value for _, value in sorted(sample["labels"].items()))): sample["value"]
        for metric in answer.json()["metrics"]
        for sample in metric["samples"]
    }


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_health_checks_answer(served: Served, prefix: str) -> None:
    health = (await served.client.get(f"{prefix}/healthz")).json()
    ready = await served.client.get(f"{prefix}/readyz")
    live = (await served.client.get(f"{prefix}/health/live")).json()
    both = (await served.client.get(f"{prefix}/health/ready")).json()

    assert (health["status"], health["queue_depth"]) == ("ok", 0)
    assert health["time"].endswith("Z")
    assert ready.status_code == 200
    body = ready.json()
    assert body["ready"] is True
    assert body["engine"] == {"queue_depth": 0, "active_tenants": 0, "active_workflows": 0}
    assert body["db"]["ok"] is True
    assert body["db"]["schema_version"] == body["db"]["expected_version"] == int(newest())
    assert body["db"]["backend"] in {"sqlite", "postgres"}
    assert live["status"] == "alive"
    assert both["status"] == "ready"
    assert both["ready"] is True


async def test_ready_says_what_the_contract_says(served: Served) -> None:
    answer = await served.client.get("/ready")

    assert answer.status_code == 200
    assert answer.json()["status"] == "ready"
    assert answer.json()["workflows_db"] == {"schema_version": int(newest()), "expected_version": int(newest())}


async def test_while_it_shuts_down_nothing_is_sent_here(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served.inside.engine.worker, "stopping", True)

    draining = await served.client.get("/ready")
    unready = await served.client.get("/readyz")
    alive = await served.client.get("/healthz")

    assert (draining.status_code, draining.json()) == (503, {"status": "not_ready", "reason": "shutdown_in_progress"})
    assert (unready.status_code, unready.json()["ready"]) == (503, False)
    assert alive.status_code == 200


async def test_another_version_of_the_tables_is_not_ready(served: Served) -> None:
    def older(tx: Any) -> None:
        tx.connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")

    await served.inside.engine.transact(older)
    answer = await served.client.get("/api/v1/health/ready")

    assert answer.status_code == 503
    assert answer.json()["status"] == "not_ready"
    assert answer.json()["db"]["schema_version"] == 1


async def test_a_service_without_its_database_is_alive_and_not_ready(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_read: Any) -> None:
        raise OSError("gone")

    monkeypatch.setattr(served.inside.backend, "read", away)
    alive, ready = await served.client.get("/healthz"), await served.client.get("/readyz")

    assert alive.status_code == 200
    assert ready.status_code == 503
    assert ready.json()["db"] == {
        "ok": False, "backend": ready.json()["db"]["backend"], "schema_version": None,
        "expected_version": int(newest()), "error": "the database is away",
    }  # fmt: skip


async def test_queued_runs_are_counted(database_url: str) -> None:
    async with serving(database_url, worker=False) as served:
        for _ in range(3):
            body = {"definition": definition()}
            assert (await served.client.post("/api/v1/workflows/run", json=body)).status_code == 200

        assert (await served.client.get("/healthz")).json()["queue_depth"] == 3
        assert (await figures(served))["workflows_engine_queue_depth", ()] == 3
        assert "\nworkflows_engine_queue_depth 3.0\n" in (await served.client.get("/metrics")).text


async def test_held_runs_say_whose_they_are(served: Served) -> None:
    wait = {"id": "wait", "type": "delay", "config": {"milliseconds": 300}}
    seen: set[int] = set()
    for _ in range(50):  # a short wait may be over before anybody looks
        running = asyncio.ensure_future(run(served, [wait]))
        while not running.done():
            seen.add((await served.client.get("/readyz")).json()["engine"]["active_tenants"])
        assert await running == "succeeded"
        if 1 in seen:
            break
    assert seen in ({1}, {0, 1})


async def test_the_settings_in_force_are_shown(database_url: str) -> None:
    told = {
        "workflows_egress_allowlist": ("hooks.example.com",),
        "workflows_webhook_secret": "s3cret-" * 8,
        "workflows_artifact_retention_days": 7,
    }
    async with serving(database_url, worker=False, **told) as served:
        answer = await served.client.get("/api/v1/workflows/config")

    shown = answer.json()
    assert answer.status_code == 200
    assert shown.keys() == {"backend", "rate_limits", "engine", "egress", "webhooks", "artifacts"}
    assert shown["backend"] == {"type": "sqlite" if database_url.startswith("sqlite") else "postgres"}
    assert shown["egress"] == {
        "profile": "(auto)", "allowed_ports": ["80", "443"], "allowlist": ["hooks.example.com"], "block_private": True,
    }  # fmt: skip
    assert shown["webhooks"]["secret_set"] is True
    assert shown["artifacts"]["retention_days"] == 7
    assert "s3cret" not in answer.text


async def test_runs_and_steps_are_counted(served: Served) -> None:
    branch = {
        "id": "b",
        "type": "map",
        "config": {"items": [1, 2], "step": {"type": "log", "config": {"message": "m"}}},
    }
    assert await run(served, [log("a"), branch]) == "succeeded"
    assert await run(served, [FAILING]) == "failed"

    found = await figures(served)

    assert found["workflows_runs_started_total", ("sync", "default")] == 2
    assert found["workflows_runs_completed_total", ("default",)] == 1
    assert found["workflows_runs_failed_total", ("default",)] == 1
    assert found["workflows_steps_started_total", ("log",)] == 3
    assert found["workflows_steps_succeeded_total", ("log",)] == 3
    assert found["workflows_steps_succeeded_total", ("map",)] == 1
    assert found["workflows_steps_failed_total", ("prompt",)] == 1
    assert found["workflows_run_duration_ms_count", ("default",)] == 2
    assert found["workflows_step_duration_ms_count", ("default", "log")] == 3
    names = {metric["name"] for metric in (await served.client.get("/api/v1/metrics")).json()["metrics"]}
    assert names >= COUNTED | {
        "workflows_run_duration_ms", "workflows_step_duration_ms", "workflows_engine_queue_depth",
    }  # fmt: skip


async def test_a_step_is_counted_once_however_often_its_run_is_replayed(database_url: str) -> None:
    wait = {"id": "wait", "type": "delay", "config": {"milliseconds": 1500}}
    async with serving(database_url) as served:
        assert await run(served, [log("a"), wait, log("b")]) == "succeeded"
        found = await figures(served)

    assert found["workflows_steps_started_total", ("log",)] == 2
    assert found["workflows_steps_succeeded_total", ("log",)] == 2
    assert found["workflows_steps_succeeded_total", ("delay",)] == 1
    assert found["workflows_step_duration_ms_count", ("default", "delay")] == 1


@pytest.fixture
async def guarded(migrated_sqlite_url: str) -> AsyncIterator[Served]:
    async with serving(migrated_sqlite_url, worker=False, api_key="s3cret-key") as running:
        yield running


async def test_many_tenants_share_the_label_of_the_others(served: Served) -> None:
    meter = served.app.state.meter
    for number in range(150):
        meter.run_started("workflows.run", f"run{number}", f"tenant{number}", "{}")

    found = await figures(served)
    tenants = [labels for name, labels in found if name == "workflows_runs_started_total"]
    assert len(tenants) == 101
    assert found["workflows_runs_started_total", ("child", "other")] == 50


async def test_who_watches_needs_no_credential_who_reads_settings_does(guarded: Served) -> None:
    async def status(path: str, **headers: str) -> int:
        answer: httpx2.Response = await guarded.client.get(path, headers=headers)
        return answer.status_code

    for path in ("/healthz", "/readyz", "/ready", "/api/v1/healthz", "/api/v1/readyz", "/api/v1/health/live"):
        assert await status(path) == 200
    for path in ("/api/v1/workflows/config", "/api/v1/metrics"):
        assert await status(path) == 401
        assert await status(path, **{"X-API-Key": "s3cret-key"}) == 200


async def test_runs_and_steps_are_told_of_when_somebody_looks(database_url: str) -> None:
    async with serving(database_url, workflows_debug=True, log_level="ERROR") as served:
        assert await run(served, [log("a")]) == "succeeded"
        told = [line for line in served.lines.events() if line["event"].startswith("workflows.")]

    assert [line["event"] for line in told] == [
        "workflows.run.started", "workflows.step.started", "workflows.step.ended", "workflows.run.ended",
    ]  # fmt: skip
    assert len({line["run_id"] for line in told}) == 1
    assert (told[2]["step"], told[2]["type"], told[2]["status"]) == ("a#1", "log", "succeeded")


async def test_requests_about_artifacts_and_letters_are_told_of_when_somebody_looks(database_url: str) -> None:
    wanted = {"workflows_artifacts_debug": True, "workflows_dlq_debug": True}
    async with serving(database_url, log_level="ERROR", **wanted) as served:
        await served.client.get("/api/v1/workflows/artifacts/nothing/download", headers={"Range": "bytes=0-1"})
        await served.client.get("/api/v1/workflows/webhooks/dlq?limit=5")
        of = {"run_id": "r1", "webhook_id": "w1"}
        served.app.state.meter.count("workflows_webhook_deliveries", of, status="failed", host="hooks.example.com")
        [artifact] = served.lines.events("workflows.artifacts.request")
        [letters] = served.lines.events("workflows.dlq.request")
        [attempt] = served.lines.events("workflows.webhook.attempt")

    assert (artifact["range"], artifact["status_code"]) == ("bytes=0-1", 404)
    assert (letters["query"], letters["status_code"]) == ("limit=5", 200)
    assert (attempt["status"], attempt["host"]) == ("failed", "hooks.example.com")
    assert (attempt["run_id"], attempt["webhook_id"]) == ("r1", "w1")


async def test_nothing_more_is_told_when_nobody_looks(served: Served) -> None:
    assert await run(served, [log("a")]) == "succeeded"
    await served.client.get("/api/v1/workflows/webhooks/dlq")

    assert [line for line in served.lines.events() if line["event"].startswith("workflows.")] == []
