"""The routes of webhooks: the history of a run, dead letters, and who may."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from tests.support.apps import Served, serving
from tests.support.databases import ON_ONE_DATABASE
from tests.support.receiver import Receiver, Reply, receiving
from windlass.contexts.webhooks.api import Delivery
from windlass.http import webhooks as routes
from windlass.kernel.actors import RUNS_READ, Actor

BELOW = "/api/v1/workflows"
DLQ = f"{BELOW}/webhooks/dlq"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Somebody who wants to hear."""
    with receiving() as running:
        yield running


def telling(database_url: str, **settings: Any) -> AbstractAsyncContextManager[Served]:
    """Start an application that may speak to this machine and gives up after one attempt."""
    usual: dict[str, Any] = {
        "workflows_egress_allowed_ports": ("*",), "workflows_egress_block_private": False,
        "workflows_webhook_dlq_max_attempts": 1,
    }  # fmt: skip
    return serving(database_url, **{**usual, **settings})


async def give_up(served: Served, url: str, run_id: str | None = None, tenant: str = "default") -> None:
    """Try a webhook that nobody wants to hear, until it is a dead letter."""
    inside = served.inside
    delivery = Delivery("w-1", url, '{"run": "r"}', tenant, run_id)
    run = await inside.engine.transact(lambda tx: inside.webhooks.queue_in(tx, delivery))
    await inside.engine.result(run, timeout=30)


async def some_run(served: Served) -> str:
    """Return a run that has ended."""
    started = await served.client.post("/records/process", json={})
    run_id: str = started.json()["run_id"]
    await served.inside.engine.result(run_id, timeout=30)
    return run_id


async def test_what_became_of_the_webhooks_of_a_run(database_url: str, receiver: Receiver) -> None:
    receiver.replies = [Reply(503)]
    async with telling(
        database_url, workflows_webhook_dlq_max_attempts=2, workflows_webhook_dlq_base_sec=0.01
    ) as served:
        run_id = await some_run(served)
        await give_up(served, receiver.url, run_id)
        path = f"{BELOW}/runs/{run_id}/webhooks/deliveries"

        first = (await served.client.get(path, params={"limit": 1})).json()
        second = (await served.client.get(path, params={"limit": 1, "cursor": first["next_cursor"]})).json()

        [failed], [delivered] = first["deliveries"], second["deliveries"]
        assert (failed["status"], failed["code"], failed["host"]) == ("failed", 503, "127.0.0.1")
        assert (delivered["status"], delivered["code"], second["next_cursor"]) == ("delivered", 200, None)
        assert failed["event_seq"] < delivered["event_seq"]
        metrics = (await served.client.get("/metrics")).text
        assert 'workflows_webhook_deliveries_total{host="127.0.0.1",status="delivered"} 1.0' in metrics
        assert 'workflows_webhook_deliveries_total{host="127.0.0.1",status="failed"} 1.0' in metrics


@pytest.mark.parametrize("run_id", ["nobody", "x" * 300, "%0A"])
async def test_a_run_that_is_not_there(served: Served, run_id: str) -> None:
    answer = await served.client.get(f"{BELOW}/runs/{run_id}/webhooks/deliveries")

    assert (answer.status_code, answer.json()["detail"]) == (404, "Run not found")


async def test_a_dead_letter_is_listed_and_sent_again(database_url: str, receiver: Receiver) -> None:
    receiver.replies = [Reply(503), Reply(500)]
    async with telling(database_url) as served:
        await give_up(served, receiver.url)
        listed = (await served.client.get(DLQ)).json()
        [letter] = listed["items"]
        assert (listed["limit"], listed["offset"], listed["count"], listed["next_cursor"]) == (100, 0, 1, None)
        assert (letter["url"], letter["attempts"], letter["body"]) == (receiver.url, 1, {"run": "r"})

        again = await served.client.post(f"{DLQ}/{letter['id']}/replay")
        heard = await served.client.post(f"{DLQ}/{letter['id']}/replay")
        gone = await served.client.post(f"{DLQ}/{letter['id']}/replay")

        assert (again.status_code, again.json()) == (
            200,
            {"ok": False, "status_code": 500, "error": "delivery_failed", "error_category": "transient_error"},
        )
        assert (heard.status_code, heard.json()) == (200, {"ok": True, "status_code": 200})
        assert (gone.status_code, gone.json()["detail"]) == (404, "DLQ item not found")


async def test_many_are_sent_again_or_thrown_away(database_url: str, receiver: Receiver) -> None:
    receiver.usual = Reply(503)
    async with telling(database_url) as served:
        for path in ("a", "b", "c"):
            await give_up(served, f"{receiver.url}/{path}")
        ids = [item["id"] for item in (await served.client.get(DLQ, params={"error": "http_503"})).json()["items"]]
        assert (await served.client.get(DLQ, params={"limit": 1})).json()["next_cursor"] == str(ids[0])
        receiver.usual = Reply()

        assert (await served.client.delete(f"{DLQ}/{ids[0]}")).json() == {"ok": True}
        assert (await served.client.delete(f"{DLQ}/{ids[0]}")).status_code == 404
        started = await served.client.post(f"{DLQ}/replay", json={"host": "127.0.0.1", "created_before": "2999-01-01"})
        assert (started.status_code, started.json()["matched"]) == (202, 2)
        sums = await served.inside.engine.result(started.json()["run_id"], timeout=30)
        assert sums["delivered"] == 2
        receiver.usual = Reply(503)
        await give_up(served, receiver.url)
        assert (await served.client.post(f"{DLQ}/discard", json={"all": True})).json() == {"discarded": 1}
        assert (await served.client.get(DLQ)).json()["count"] == 0


async def test_what_the_policy_refuses_is_a_400(database_url: str, receiver: Receiver) -> None:
    receiver.usual = Reply(503)
    async with telling(database_url) as served:
        await give_up(served, receiver.url)
        [letter] = (await served.client.get(DLQ)).json()["items"]
    async with telling(database_url, workflows_webhook_denylist=("127.0.0.1",)) as served:
        answer = await served.client.post(f"{DLQ}/{letter['id']}/replay")

        assert answer.status_code == 400
        assert answer.json()["detail"] == "Denied by egress policy"
        assert answer.json()["data"] == {"reason": "denylisted"}


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "body,field",
    [
        ([], "body"),
        ({}, "all"),
        ({"all": False}, "all"),
        ({"all": 1}, "all"),
        ({"hots": "x"}, "hots"),
        ({"host": ""}, "host"),
        ({"host": 5}, "host"),
        ({"host": "a\u0000"}, "host"),
        ({"tenant": "x" * 300}, "tenant"),
    ],
)
@pytest.mark.parametrize("action", ["replay", "discard"])
async def test_a_wrong_filter_is_refused_by_its_name(served: Served, action: str, body: object, field: str) -> None:
    answer = await served.client.post(f"{DLQ}/{action}", json=body)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][-1] == field


@ON_ONE_DATABASE
@pytest.mark.parametrize("params", [{"limit": "0"}, {"offset": "-1"}, {"hots": "x"}, {"host": ""}, {"cursor": "x"}])
async def test_a_wrong_parameter_is_refused_by_its_name(served: Served, params: dict[str, str]) -> None:
    answer = await served.client.get(DLQ, params=params)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", *params]


@pytest.mark.parametrize("dlq_id", ["0", "x", "-1", "9" * 30, "1.5"])
async def test_an_id_that_is_none(served: Served, dlq_id: str) -> None:
    for answer in (await served.client.post(f"{DLQ}/{dlq_id}/replay"), await served.client.delete(f"{DLQ}/{dlq_id}")):
        assert (answer.status_code, answer.json()["detail"]) == (404, "DLQ item not found")


async def test_who_may(database_url: str, monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    async with telling(database_url) as served:
        run_id = await some_run(served)

        async def reader(request: object) -> Actor:
            return Actor("u", "u", permissions=frozenset({RUNS_READ}))

        async def nobody(request: object) -> Actor:
            return Actor("n", "n")

        monkeypatch.setattr(routes, "caller", reader)
        listed = await served.client.get(DLQ)
        assert (listed.status_code, listed.json()["detail"]) == (
            403,
            "Permission denied: missing workflows.runs.control",
        )
        foreign = await served.client.get(f"{BELOW}/runs/{run_id}/webhooks/deliveries")
        assert (foreign.status_code, foreign.json()["detail"]) == (404, "Run not found")
        monkeypatch.setattr(routes, "caller", nobody)
        assert (await served.client.get(f"{BELOW}/runs/{run_id}/webhooks/deliveries")).status_code == 403


async def test_all_of_it_needs_an_identity(database_url: str) -> None:
    async with serving(database_url, api_key="s3cret-key") as served:
        for method, path in (
            ("GET", DLQ), ("GET", f"{BELOW}/runs/r/webhooks/deliveries"), ("POST", f"{DLQ}/1/replay"),
            ("POST", f"{DLQ}/replay"), ("POST", f"{DLQ}/discard"), ("DELETE", f"{DLQ}/1"),
        ):  # fmt: skip
            assert (await served.client.request(method, path)).status_code == 401
        assert (await served.client.get(DLQ, headers={"X-API-Key": "s3cret-key"})).status_code == 200
