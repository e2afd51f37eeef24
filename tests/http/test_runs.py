"""Runs over HTTP."""

from collections.abc import AsyncIterator

import pytest

from tests.support.apps import Served, serving
from tests.support.databases import ON_ONE_DATABASE

BODY = {"source": "api", "category": "test", "payload": {"priority": 1}}


@pytest.fixture
async def idle(database_url: str) -> AsyncIterator[Served]:
    """An application whose runs nobody carries out."""
    async with serving(database_url, worker=False, process_wait_seconds=0.01) as running:
        yield running


async def queued(served: Served) -> str:
    """Start a run that waits for a worker, and return its id."""
    record = (await served.client.post("/records", json=BODY)).json()
    run_id: str = (await served.client.post(f"/records/{record['id']}/process")).json()["run_id"]
    return run_id


async def test_runs_are_listed_newest_first(idle: Served) -> None:
    ids = [await queued(idle) for _ in range(5)]

    seen: list[str] = []
    cursor = ""
    while True:
        page = (await idle.client.get(f"/runs?limit=2{cursor}")).json()
        seen += [run["run_id"] for run in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert seen == ids[::-1]
    assert (await idle.client.get("/runs?status=succeeded")).json()["items"] == []
    assert (await idle.client.get("/runs?name=records.process&queue=default&status=queued")).json()["count"] == 5
    assert (await idle.client.get(f"/runs?parent_run_id={ids[0]}")).json()["count"] == 0


async def test_a_run_and_its_events_can_be_looked_at(served: Served) -> None:
    record = (await served.client.post("/records", json=BODY)).json()
    run_id = (await served.client.post(f"/records/{record['id']}/process")).json()["run_id"]

    run = (await served.client.get(f"/runs/{run_id}")).json()
    events = (await served.client.get(f"/runs/{run_id}/events")).json()
    rest = (await served.client.get(f"/runs/{run_id}/events?since=1&limit=2")).json()

    assert (run["status"], run["name"], run["inputs"]["ticket"][0]) == ("succeeded", "records.process", record["id"])
    assert [event["event_seq"] for event in events["items"]] == list(range(1, run["last_seq"] + 1))
    assert [event["event_type"] for event in events["items"]][::5] == ["run_started", "run_completed"]
    assert events["next_since"] is None
    assert ([event["event_seq"] for event in rest["items"]], rest["next_since"]) == ([2, 3], 3)


async def test_runs_are_controlled(idle: Served) -> None:
    run_id = await queued(idle)

    async def control(action: str) -> tuple[int, str]:
        answer = await idle.client.post(f"/runs/{run_id}/{action}", json={"reason": "because"})
        body = answer.json()
        return answer.status_code, body["status"] if answer.status_code == 200 else body["error"]["code"]

    assert await control("pause") == (200, "paused")
    assert await control("resume") == (200, "queued")
    assert await control("retry") == (409, "CONFLICT")
    assert await control("cancel") == (200, "cancelled")
    assert await control("pause") == (409, "CONFLICT")
    assert (await idle.client.get(f"/runs/{run_id}")).json()["status_reason"] == "because"


async def test_unknown_runs_are_not_found(idle: Served) -> None:
    for run_id in ("nope", "%00", "x" * 300, "%f0%9f%99%82"):
        for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel")):
            answer = await idle.client.request(method, f"/runs/{run_id}{path}")

            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "path,body,field",
    [
        ("/runs?status=done", None, "status"),
        ("/runs?cursor=x", None, "cursor"),
        ("/runs?cursor=WyJ4IiwieSJd", None, "cursor"),
        ("/runs?name=%00", None, "name"),
        ("/runs?limit=1001", None, "limit"),
        ("/runs?waiting_on=somebody", None, "waiting_on"),
        ("/runs/x/events?since=-1", None, "since"),
        ("/runs/x/cancel", b"[]", "body"),
        ("/runs/x/cancel", b'{"why": 1}', "why"),
        ("/runs/x/cancel", b'{"reason": 1}', "reason"),
        ("/runs/x/cancel", b'{"reason": "\\u0000"}', "reason"),
    ],
)
async def test_bad_questions_are_refused_by_name(idle: Served, path: str, body: bytes | None, field: str) -> None:
    answer = await idle.client.request("GET" if body is None else "POST", path, content=body)

    assert answer.status_code == 422
    assert answer.json()["error"]["details"][0]["loc"][-1] == field
