"""What steps keep beside their outputs: artifacts, checkpoints, results for later runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.apps import Served, serving
from tests.support.receiver import Reply, receiving
from windlass.contexts.artifacts import rows
from windlass.kernel.errors import Unavailable

BASE = "/api/v1/workflows"


async def run(served: Served, steps: list[dict[str, Any]], **body: Any) -> dict[str, Any]:
    """Carry a definition out; its run must succeed."""
    definition = {"name": "keeping", "steps": steps}
    answer = await served.client.post(f"{BASE}/run?mode=sync", json={"definition": definition, **body})
    found: dict[str, Any] = answer.json()
    assert (answer.status_code, found.get("status")) == (200, "succeeded"), answer.text
    return found


async def artifacts(served: Served, run_id: str) -> list[tuple[str, str, str, str]]:
    """Return type, name, media type and content of every artifact of a run."""
    found = (await served.client.get(f"{BASE}/runs/{run_id}/artifacts")).json()
    return [
        (one["type"], one["metadata"]["name"], one["mime_type"],
         (await served.client.get(f"{BASE}/artifacts/{one['artifact_id']}/download")).text)
        for one in found
    ]  # fmt: skip


async def test_texts_answers_and_checkpoints_become_artifacts_without_secrets(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived, faults = rows.arrived, [Unavailable("between the file and its row")]

    def lost(*given: Any) -> Any:
        if faults:
            raise faults.pop()
        return arrived(*given)

    monkeypatch.setattr(rows, "arrived", lost)
    settings: dict[str, Any] = {
        "workflows_artifacts_dir": tmp_path / "kept", "workflows_egress_allowed_ports": ("*",),
        "workflows_egress_block_private": False,
    }  # fmt: skip
    with receiving() as receiver:
        receiver.usual = Reply(
            headers={"Content-Type": "application/json; charset=utf-8", "Set-Cookie": "a=b", "X-Echo": "hush-hush"},
            body=b'{"token": "hush-hush", "n": 1}',
        )
        call = {"url": f"{receiver.url}/x", "save_response_body": True, "save_response_json": True}
        steps: list[dict[str, Any]] = [
            {"id": "mark", "type": "checkpoint", "config": {"checkpoint_id": "first", "data": {"n": 1}}, "retry": 2},
            {"id": "text", "type": "prompt", "config": {"template": "is {{ secrets.k }}", "save_artifact": True}},
            {"id": "call", "type": "webhook", "config": call},
        ]
        async with serving(database_url, **settings) as served:
            done = await run(served, steps, secrets={"k": "hush-hush"})
            kept = await artifacts(served, done["run_id"])
            events = (await served.client.get(f"{BASE}/runs/{done['run_id']}/events?types=checkpoint")).json()

    assert faults == []
    assert [event["payload"] for event in events] == [{"checkpoint_id": "first", "data": {"n": 1}}]
    assert kept[:2] == [
        ("checkpoint", "mark.json", "application/json", '{"n":1}'),
        ("prompt", "text.txt", "text/plain", "is ***"),
    ]
    assert [one[:3] for one in kept[2:]] == [
        ("webhook_response", "call.response.json", "application/json"),
        ("webhook_response_body", "call.body", "application/json"),
        ("webhook_response_body", "call.body.json", "application/json"),
    ]
    assert '"status": 200' in kept[2][3]
    assert [one[3] for one in kept[3:]] == ['{"token": "***", "n": 1}'] * 2
    everything = " ".join(one[3] for one in kept)
    assert "hush" not in everything
    assert "a=b" not in everything
    assert len(done["outputs"]["artifact_ids"]) == 3


async def test_a_result_is_kept_for_later_runs(served: Served) -> None:
    def step(**config: Any) -> list[dict[str, Any]]:
        return [{"id": "keep", "type": "cache_result", "config": {"key": "rates {{ inputs.day }}", **config}}]

    async def outputs(**config: Any) -> Any:
        return (await run(served, step(**config), inputs={"day": "mon"}, secrets={"k": "hush-hush"}))["outputs"]

    data = {"eur": 1.1, "by": "{{ secrets.k }}"}
    kept = {"eur": 1.1, "by": "***"}
    key = "rates mon"
    assert await outputs(data=data) == {"key": key, "cached": False, "stored": True, "data": kept}
    again = await outputs(data={"eur": 2})
    assert again.pop("age_seconds") >= 0
    assert again == {"key": key, "cached": True, "stored": False, "data": kept}
    assert (await outputs(action="set", data=3))["stored"] is True
    assert (await outputs(action="get"))["data"] == 3
    assert await outputs(action="invalidate") == {"key": key, "invalidated": True}
    assert await outputs(action="get") == {"key": key, "cached": False, "stored": False, "data": None}
