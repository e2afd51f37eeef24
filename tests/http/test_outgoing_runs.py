"""Runs of definitions that speak to others: the steps webhook and notify, and who hears of the end."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.apps import Served, serving
from tests.support.receiver import Receiver, Reply, receiving
from tests.support.waiting import wait_until_async
from windlass.contexts.webhooks.api import signature
from windlass.kernel.actors import Actor

RUNS = "/api/v1/workflows"
OPERATOR = Actor("operator", "ann", role="admin", kind="operator")
OPEN: dict[str, Any] = {
    "workflows_egress_allowed_ports": ("*",), "workflows_egress_block_private": False, "workflows_webhook_secret": "k",
    "workflows_webhook_dlq_base_sec": 0.01,
}  # fmt: skip


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Somebody to speak to."""
    with receiving() as running:
        yield running


def definition(receiver: Receiver, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a definition whose end is told."""
    return {"name": "outgoing", "steps": steps, "on_completion_webhook": f"{receiver.url}/end"}


async def run(served: Served, receiver: Receiver, steps: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Carry a definition out and return its run once it has ended."""
    body = {"definition": definition(receiver, steps), **more}
    answer = await served.client.post(f"{RUNS}/run", params={"mode": "sync"}, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def end_of(receiver: Receiver) -> Any:
    """Wait for the word of a run's end."""
    return await wait_until_async(lambda: next((got for got in receiver.received if got.path == "/end"), None))


async def test_a_definition_speaks_to_others_and_its_end_is_told(database_url: str, receiver: Receiver) -> None:
    receiver.answer = lambda got: Reply(body=b'{"id": 9}') if got.path == "/call" else None
    steps = [
        {"id": "call", "type": "webhook", "config": {
            "url": f"{receiver.url}/call", "body": {"asked": "{{ inputs.word }}"},
            "signing": {"secret_ref": "mine"}}},
        {"id": "say", "type": "notify", "config": {
            "url": f"{receiver.url}/chat", "message": "it is {{ call.response_json.id }}"}},
    ]  # fmt: skip
    async with serving(database_url, **OPEN) as served:
        done = await run(served, receiver, steps, inputs={"word": "hello"}, secrets={"mine": "s3cret"})
        ended = await end_of(receiver)
        events = (await served.client.get(f"{RUNS}/runs/{done['run_id']}/webhooks/deliveries")).json()

    assert (done["status"], done["outputs"]["dispatched"]) == ("succeeded", True)
    call, chat = (next(got for got in receiver.received if got.path == path) for path in ("/call", "/chat"))
    assert call.json == {"asked": "hello"}
    assert call.headers["x-workflows-signature"] == signature(
        "s3cret", int(call.headers["x-signature-timestamp"]), call.body
    )
    assert chat.json == {"text": "it is 9"}
    assert (ended.json["run"]["id"], ended.json["run"]["status"]) == (done["run_id"], "succeeded")
    assert ended.headers["x-workflows-signature"] == signature(
        "k", int(ended.headers["x-signature-timestamp"]), ended.body
    )
    assert all(delivery["status"] == "delivered" for delivery in events["deliveries"])


async def test_a_call_that_fails_fails_the_run_and_that_is_told_until_it_is_heard(
    database_url: str, receiver: Receiver
) -> None:
    replies = [Reply(500), Reply(503)]
    receiver.answer = lambda got: Reply(404) if got.path == "/call" else replies.pop() if replies else None
    steps = [{"id": "call", "type": "webhook", "config": {"url": f"{receiver.url}/call"}}]
    async with serving(database_url, **OPEN) as served:
        done = await run(served, receiver, steps)
        await wait_until_async(lambda: len([got for got in receiver.received if got.path == "/end"]) == 3)

    assert done["status"] == "failed"
    ends = [got for got in receiver.received if got.path == "/end"]
    assert {got.json["run"]["status"] for got in ends} == {"failed"}
    assert len({got.headers["x-webhook-id"] for got in ends}) == 1


async def test_a_run_that_is_cancelled_while_it_waits_is_told(database_url: str, receiver: Receiver) -> None:
    steps = [{"id": "ask", "type": "wait_for_approval", "config": {"assigned_to_user_id": "dev"}}]
    async with serving(database_url, **OPEN) as served:
        body = {"definition": definition(receiver, steps)}
        run_id = (await served.client.post(f"{RUNS}/run", params={"mode": "async"}, json=body)).json()["run_id"]

        async def waits() -> bool:
            found = (await served.client.get(f"{RUNS}/runs/{run_id}")).json()
            return bool(found["status"] == "waiting_approval")

        await wait_until_async(waits)
        assert (await served.client.post(f"{RUNS}/runs/{run_id}/cancel")).status_code == 200
        assert (await end_of(receiver)).json["run"]["status"] == "cancelled"


async def test_a_run_that_is_rejected_is_told(database_url: str, receiver: Receiver) -> None:
    steps = [{"id": "ask", "type": "wait_for_approval", "config": {"assigned_to_user_id": "dev"}}]
    async with serving(database_url, **OPEN) as served:
        body = {"definition": definition(receiver, steps)}
        run_id = (await served.client.post(f"{RUNS}/run", params={"mode": "async"}, json=body)).json()["run_id"]

        async def waits() -> bool:
            found = (await served.client.get(f"{RUNS}/runs/{run_id}")).json()
            return bool(found["status"] == "waiting_approval")

        await wait_until_async(waits)
        assert (await served.client.post(f"{RUNS}/runs/{run_id}/steps/ask/reject")).status_code == 200
        assert (await end_of(receiver)).json["run"]["status"] == "failed"


async def test_a_run_whose_person_does_not_answer_is_told(database_url: str, receiver: Receiver) -> None:
    steps = [
        {"id": "ask", "type": "wait_for_human", "config": {"assigned_to_user_id": "dev", "timeout_seconds": 1}}
    ]  # fmt: skip
    async with serving(database_url, **OPEN) as served:
        body = {"definition": definition(receiver, steps)}
        await served.client.post(f"{RUNS}/run", params={"mode": "async"}, json=body)

        assert (await end_of(receiver)).json["run"]["status"] == "failed"


async def test_people_are_reminded_by_a_webhook_until_enough_of_them_have_decided(
    database_url: str, receiver: Receiver
) -> None:
    people = {"assigned_to_user_id": "{{ inputs.who }}", "instructions": "Pay?", "quorum": 2, "reminder": 1}
    steps = [
        {"id": "ask", "type": "wait_for_approval", "config": people},
        {"id": "say", "type": "prompt", "config": {"template": "{{ ask.decided_by | join(' and ') }}"}},
    ]
    body = {"definition": definition(receiver, steps), "inputs": {"who": ["dev", "keeper"]}}
    async with serving(database_url, **OPEN, workflows_reminder_url=f"{receiver.url}/remind", api_key="k") as served:
        keyed = {"X-API-Key": "k"}
        other = (await served.inside.identity.add_key(OPERATOR, "second", permissions=["*"])).text
        started = await served.client.post(f"{RUNS}/run", json=body, headers=keyed)
        run_id = started.json()["run_id"]

        async def deliveries() -> list[dict[str, Any]]:
            answer = await served.client.get(f"{RUNS}/runs/{run_id}/webhooks/deliveries", headers=keyed)
            found: list[dict[str, Any]] = answer.json()["deliveries"]
            return found

        await wait_until_async(deliveries)
        for key in ("k", other):
            answer = await served.client.post(
                f"{RUNS}/runs/{run_id}/steps/ask/approve", json={}, headers={"X-API-Key": key}
            )
            assert answer.status_code == 200, answer.text
        done = (await end_of(receiver)).json
        events = (await served.client.get(f"{RUNS}/runs/{run_id}/events", headers=keyed)).json()

    assert (done["run"]["status"], len(done["result"]["outputs"]["text"].split(" and "))) == ("succeeded", 2)
    told = [got for got in receiver.received if got.path == "/remind"]
    assert [got.json["reminder"] for got in told] == list(range(1, len(told) + 1))
    assert len({got.headers["x-webhook-id"] for got in told}) == len(told)
    first = told[0]
    assert (first.json["step"]["assigned_to"], first.json["step"]["quorum"]) == (["dev", "keeper"], 2)
    assert first.json["text"].startswith("dev, keeper: Pay? (ask of run ")
    assert first.headers["x-workflows-signature"] == signature(
        "k", int(first.headers["x-signature-timestamp"]), first.body
    )
    kinds = [event["event_type"] for event in events]
    assert kinds.count("human_reminded") >= len(told)
    assert "webhook_delivery" in kinds
