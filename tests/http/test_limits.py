"""Limits over HTTP: what a refusal says, what is in force, changes while all is running, draining a queue."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import orjson
import pytest

from tests.engine.lab import MovableClock
from tests.support.apps import Served, serving
from tests.support.receiver import Receiver, Reply, receiving
from tests.support.waiting import wait_until_async
from windlass.cli.client import limits
from windlass.cli.client.http import HttpClient
from windlass.cli.client.limits import HttpLimits
from windlass.kernel.actors import RUNS_READ, Actor
from windlass.kernel.clock import SECOND, from_iso

BASE = "/api/v1/workflows"
QUOTAS = f"{BASE}/quotas"
DOCUMENT: dict[str, Any] = {"name": "over", "steps": [{"id": "a", "type": "log", "config": {"message": "a"}}]}
HEADERS = (
    "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After", "X-RateLimit-Limit",
    "X-RateLimit-Remaining", "X-RateLimit-Reset",
)  # fmt: skip
OPERATOR = Actor("operator", "ann", role="admin", kind="operator")
WORD = "correct horse"
OPEN: dict[str, Any] = {"workflows_egress_allowed_ports": ("*",), "workflows_egress_block_private": False}


class StoppedClock(MovableClock):
    """A clock that stands still at twenty seconds past noon, until it is moved."""

    def now(self) -> int:
        """Return wall time in microseconds."""
        return from_iso("2030-06-01T12:00:20Z") + self._ahead


@pytest.fixture
async def limited(database_url: str) -> AsyncIterator[Served]:
    """The started application with small limits."""
    settings: dict[str, Any] = {
        "workflows_disable_quotas": False, "workflows_disable_rate_limits": False,
        "workflows_quota_daily_per_user": 2, "workflows_rate_run_adhoc_per_min": 4,
    }  # fmt: skip
    async with serving(database_url, **settings) as running:
        running.inside.engine.clock = StoppedClock()
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Somebody to speak to."""
    with receiving() as running:
        yield running


async def start(served: Served, **body: Any) -> httpx2.Response:
    """Run a definition that is not saved."""
    return await served.client.post(f"{BASE}/run", json={"definition": DOCUMENT, **body})


def rates(answer: httpx2.Response) -> list[str]:
    """The seven headers, in the order of the contract."""
    return [answer.headers[name] for name in HEADERS]


async def test_a_refusal_says_what_when_and_how_much(limited: Served) -> None:
    number = (await limited.client.post(BASE, json=DOCUMENT)).json()["id"]
    first = await start(limited, idempotency_key="k")
    again = await start(limited, idempotency_key="k")
    second = await start(limited)
    over = await start(limited)
    often = await start(limited, idempotency_key="k")
    saved = await limited.client.post(f"{BASE}/{number}/run", json={})

    midnight, minute = from_iso("2030-06-02T00:00:00Z") // SECOND, from_iso("2030-06-01T12:01:00Z") // SECOND
    assert [first.status_code, again.status_code, second.status_code] == [200, 200, 200]
    assert again.json()["run_id"] == first.json()["run_id"]
    left = str(12 * 3600 - 20)
    assert (over.status_code, rates(over)) == (429, ["2", "0", left, left, "2", "0", str(midnight)])
    assert over.json() == {
        "detail": "Daily quota exceeded",
        "code": "RATE_LIMITED",
        "request_id": over.headers["x-request-id"],
        "data": {"limit": "daily", "allowed": 2, "resets_at": "2030-06-02T00:00:00.000000Z"},
    }
    assert (often.status_code, rates(often)) == (429, ["4", "0", "40", "40", "4", "0", str(minute)])
    assert (often.json()["detail"], often.json()["data"]["limit"]) == ("Rate limit exceeded", "run_adhoc")
    assert (saved.status_code, saved.json()["detail"]) == (429, "Daily quota exceeded")
    found = (await limited.client.get("/metrics")).text
    assert 'workflows_starts_refused_total{limit="daily"} 2.0' in found
    assert 'workflows_starts_refused_total{limit="run_adhoc"} 1.0' in found
    in_force = (await limited.client.get(f"{BASE}/config")).json()["rate_limits"]
    assert (in_force["disabled"], in_force["quotas_disabled"]) == (False, False)
    assert (in_force["run_adhoc_per_min"], in_force["quota_daily_per_user"]) == (4, 2)


async def test_limits_are_changed_while_all_is_running(limited: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    client = HttpLimits(HttpClient(limited.client, "windlass"))
    for _ in range(2):
        await start(limited)
    fork = f"{BASE}/runs/{(await limited.client.get(f'{BASE}/runs')).json()['runs'][0]['run_id']}/fork"
    forked = await limited.client.post(fork, json={"from_step": "a"})
    many = await limited.client.post(
        f"{BASE}/runs/bulk", json={"action": "fork", "from_step": "a", "filter": {"owner": "dev"}}
    )

    made = await client.change("daily", 3, "dev")
    mended = await limited.client.post(fork, json={"from_step": "a"})
    told = {one["limit"]: one for one in await client.standing("dev")}
    listed = await client.overrides()
    unlimited = await client.change("daily", None, None)
    cleared = [await client.clear("daily", user) for user in ("dev", "dev", None)]
    monkeypatch.setattr(limits, "PAGE", 1)
    for user in ("u1", "u2", "u3"):
        await client.change("burst", 5, user)
    paged = [one["user_id"] for one in await client.overrides()]
    wrong = [
        (await limited.client.put(QUOTAS, json=body)).status_code
        for body in ({"limit": "daily"}, {"limit": "daily", "value": 1, "unlimited": True}, {"limit": "hourly"},
                     {"limit": "daily", "value": -1}, {"limit": "queue_depth", "value": 1, "user_id": "dev"})
    ]  # fmt: skip
    unnamed = await limited.client.delete(QUOTAS)
    unread = await limited.client.get(f"{QUOTAS}?cursor=x")

    assert (forked.status_code, forked.json()["data"]["limit"]) == (429, "daily")
    assert (many.json()["done"], {one["code"] for one in many.json()["runs"]}) == (0, {"RATE_LIMITED"})
    assert (made["value"], made["user_id"], made["updated_by"]) == (3, "dev", "dev")
    assert mended.status_code == 200
    assert (told["daily"]["value"], told["daily"]["used"], told["daily"]["source"]) == (3, 3, "user")
    assert told["run_adhoc"]["used"] == 2
    assert listed == [made]
    assert (unlimited["value"], cleared) == (None, [True, False, True])
    assert paged == ["u1", "u2", "u3"]
    assert (wrong, unnamed.status_code, unread.status_code) == ([400, 400, 422, 422, 400], 422, 422)


async def test_what_a_run_calls_and_what_is_retried(limited: Served) -> None:
    client = HttpLimits(HttpClient(limited.client, "windlass"))
    number = (await limited.client.post(BASE, json=DOCUMENT)).json()["id"]

    def calling(**more: Any) -> dict[str, Any]:
        return {"name": "calling", "steps": [
            {"id": "c", "type": "workflow_call", "config": {"workflow_id": number, **more}},
        ]}  # fmt: skip

    async def run(document: dict[str, Any]) -> Any:
        return (await limited.client.post(f"{BASE}/run?mode=sync", json={"definition": document})).json()

    waited = await run(calling())
    detached = await run(calling(wait=False))
    retried = await limited.client.post(f"{BASE}/runs/{detached['run_id']}/retry")
    used = {one["limit"]: one["used"] for one in await client.standing("dev")}

    assert waited["status"] == "succeeded"
    assert detached["status"] == "failed"
    assert "Daily quota exceeded" in detached["error"]
    assert (retried.status_code, used["daily"]) == (200, 2)


async def test_a_full_queue_says_how_deep_it_is_and_a_queue_is_drained(database_url: str, receiver: Receiver) -> None:
    gate = threading.Event()
    receiver.answer = lambda _got: Reply() if gate.wait(60) else None
    slow = {"name": "held", "steps": [{"id": "w", "type": "webhook", "config": {"url": f"{receiver.url}/slow"}}]}
    async with serving(database_url, workflows_queue_depth_per_tenant=1, **OPEN) as served:
        held = (await served.client.post(f"{BASE}/run", json={"definition": slow})).json()["run_id"]
        await wait_until_async(lambda: receiver.received, 30, "a run that is worked on")
        client = HttpClient(served.client, "windlass")
        begun = await client.drain_queue("workflows")

        async def accepted() -> Any:
            return (await start(served)).json().get("run_id")

        queued = await wait_until_async(accepted, 30, "a queue that is seen to be empty")
        full = await start(served)
        explain = f"{BASE}/runs/{queued}/explain"
        draining = (await served.client.get(explain)).json()
        gate.set()

        async def drained() -> bool:
            return bool((await client.drain_queue("workflows"))["drained"])

        await wait_until_async(drained, 30, "a drained queue")
        still = (await served.client.get(explain)).json()
        ended = (await served.inside.engine.get_run(held)).status
        [row] = await client.queues()
        await client.set_queue("workflows", {"paused": False})
        await served.inside.engine.result(queued, timeout=30)
        wrong = await served.client.post("/queues/a b/drain")

    assert begun == {"queue": "workflows", "paused": True, "running": 1, "drained": False}
    assert (full.status_code, full.json()["detail"], full.json()["code"]) == (429, "Queue is full", "RATE_LIMITED")
    assert full.json()["data"] == {"limit": "queue_depth", "allowed": 1, "depth": 1}
    assert full.headers["retry-after"] == "5"
    assert (draining["reason"], draining["detail"]) == ("queue_paused", "the queue drains: runs still worked on: 1")
    assert (still["reason"], still["detail"]) == ("queue_paused", None)
    assert (ended, row["paused"], row["running"], row["open"]) == ("succeeded", True, 0, 1)
    assert wrong.status_code in {400, 422}


async def test_a_scheduled_run_calls_with_a_key_of_its_owners_that_is_kept_nowhere(
    database_url: str, receiver: Receiver
) -> None:
    settings: dict[str, Any] = {
        "api_key": "s3cret-key", "jwt_secret_key": "j" * 32, "workflows_mint_virtual_keys": True,
        **OPEN,
    }  # fmt: skip
    steps = [{"id": "call", "type": "webhook", "config": {"url": f"{receiver.url}/call"}}]
    receiver.answer = lambda got: Reply(body=orjson.dumps({"you_are": got.headers.get("authorization")}))
    async with serving(database_url, **settings) as served:
        await served.inside.identity.add_user(OPERATOR, "zoe", WORD, permissions=[RUNS_READ])
        token = (await served.client.post("/auth/login", data={"username": "zoe", "password": WORD})).json()
        zoe = {"Authorization": f"Bearer {token['access_token']}"}
        document = {"name": "minted", "steps": steps}
        number = (await served.client.post(BASE, json=document, headers=zoe)).json()["id"]
        schedules = "/api/v1/scheduler/workflows"
        asked = {"workflow_id": number, "cron": "0 7 * * *"}
        made = (await served.client.post(schedules, json=asked, headers=zoe)).json()["id"]
        run_id = (await served.client.post(f"{schedules}/{made}/run-now", headers=zoe)).json()["run_id"]
        await served.inside.engine.result(run_id, timeout=30)
        run = await served.client.get(f"{BASE}/runs/{run_id}", headers=zoe)
        events = await served.client.get(f"{BASE}/runs/{run_id}/events", headers=zoe)
        [call] = receiver.received
        found = await served.inside.identity.recognise({"authorization": call.headers["authorization"]})

        await served.inside.identity.change_user(OPERATOR, "zoe", is_active=False)
        lost = await served.inside.schedules.run_now(Actor("1", "zoe"), made)
        held = await wait_until_async(lambda: _paused(served, lost), 30, "a run whose owner has no key any more")

    assert (found.actor.username, found.actor.role, found.actor.kind) == ("zoe", "user", "virtual_key")
    assert found.grant is not None
    assert (found.grant.scope, found.grant.schedule_id) == ("workflows", made)
    secret = call.headers["authorization"].removeprefix("Bearer ")
    assert run.json()["status"] == "succeeded"
    assert secret not in run.text + events.text
    assert "***" in run.text
    assert held == "secret_missing"


async def _paused(served: Served, run_id: str) -> str | None:
    run = await served.inside.engine.get_run(run_id)
    return run.status_reason if run.status == "paused" else None
