"""Queues are listed, limited and paused, and wrong changes are refused by name."""

from typing import Any

import pytest

from tests.support.apps import Served, serving
from tests.support.databases import ON_ONE_DATABASE

NOTHING: dict[str, Any] = {"limit": None, "paused": False, "running": 0, "ready": 0, "open": 0}


async def test_a_queue_is_limited_and_paused(served: Served) -> None:
    assert (await served.client.get("/queues")).json() == {"items": [], "count": 0}

    limited = await served.client.patch("/queues/mail", json={"limit": 3})
    paused = await served.client.patch("/queues/mail", json={"paused": True})
    freed = await served.client.patch("/queues/*", json={"limit": 7})

    assert limited.json() == {"queue": "mail", **NOTHING, "limit": 3}
    assert paused.json() == {"queue": "mail", **NOTHING, "limit": 3, "paused": True}
    assert freed.json() == {"queue": "*", **NOTHING, "limit": 7}
    assert (await served.client.patch("/queues/mail", json={"limit": None})).json()["limit"] is None
    assert (await served.client.patch("/queues/mail", json={})).json()["paused"] is True
    assert [row["queue"] for row in (await served.client.get("/queues")).json()["items"]] == ["*", "mail"]


async def test_a_paused_queue_keeps_its_runs(served: Served) -> None:
    await served.client.patch("/queues/default", json={"paused": True})
    started = await served.client.post("/records/process", json={})
    run = f"/runs/{started.json()['run_id']}"

    [row] = (await served.client.get("/queues")).json()["items"]
    assert (row["queue"], row["ready"], row["open"]) == ("default", 1, 1)
    assert (await served.client.get(run)).json()["status"] == "queued"

    await served.client.patch("/queues/default", json={"paused": False})

    assert await served.inside.engine.result(started.json()["run_id"], timeout=30) == {
        "processed": 0,
        "failed": 0,
        "skipped": 0,
    }


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "body,field",
    [
        ([], "body"),
        ({"limit": 0}, "limit"),
        ({"limit": 100_001}, "limit"),
        ({"limit": True}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"paused": 1}, "paused"),
        ({"speed": 3}, "speed"),
    ],
)
async def test_a_wrong_change_is_refused_by_its_name(served: Served, body: object, field: str) -> None:
    answer = await served.client.patch("/queues/default", json=body)

    assert answer.status_code == 422
    assert answer.json()["error"]["details"][0]["loc"][-1] == field
    assert (await served.client.get("/queues")).json()["count"] == 0


async def test_a_wrong_name_is_refused(served: Served) -> None:
    answer = await served.client.patch("/queues/no%20name", json={})

    assert answer.status_code == 400
    assert answer.json()["error"]["details"] == {"field": "queue"}


async def test_changes_need_the_key(database_url: str) -> None:
    async with serving(database_url, api_key="s3cret-key") as guarded:
        refused = await guarded.client.patch("/queues/default", json={"paused": True})
        allowed = await guarded.client.patch("/queues/default", json={}, headers={"X-API-Key": "s3cret-key"})

    assert (refused.status_code, allowed.status_code) == (401, 200)
