"""Runs of definitions over HTTP: starting, keys, lists, events, steps, controls, secrets, completion webhooks."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from tests.support.apps import Served, serving
from tests.support.receiver import Receiver
from tests.support.waiting import wait_until_async
from windlass.http import callers
from windlass.kernel.actors import Actor

BASE = "/api/v1/workflows"
HELLO: dict[str, Any] = {
    "name": "hello",
    "inputs": {"who": {"type": "string", "default": "world"}},
    "steps": [
        {"id": "say", "type": "prompt", "config": {"template": "Hello {{ inputs.who }}"}},
        {"id": "log", "type": "log", "config": {"message": "{{ say.text }}"}},
    ],
}
BROKEN = {"name": "broken", "steps": [{"id": "a", "type": "prompt", "config": {"template": "{{ inputs.missing }}"}}]}
ASKING: dict[str, Any] = {
    "name": "asking",
    "steps": [
        {"id": "ask", "type": "wait_for_approval", "config": {"assigned_to_user_id": "dev"}},
        {"id": "say", "type": "prompt", "config": {"template": "{{ ask.decision }}"}},
    ],
}


SECRET = {"id": "z", "type": "prompt", "config": {"template": "{{ secrets.k }}!"}}
GUARDED = {"name": "guarded", "steps": [*ASKING["steps"], SECRET]}


async def saved(served: Served, document: dict[str, Any]) -> int:
    """Save a definition and return its id."""
    answer = await served.client.post(BASE, json=document)
    assert answer.status_code == 201, answer.text
    number: int = answer.json()["id"]
    return number


async def adhoc(served: Served, document: dict[str, Any], mode: str = "sync", **body: Any) -> Any:
    """Run a definition that is not saved."""
    answer = await served.client.post(f"{BASE}/run?mode={mode}", json={"definition": document, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def at(served: Served, run_id: str, *statuses: str) -> Any:
    """Wait until a run has one of these statuses and return it."""

    async def reached() -> Any:
        run = (await served.client.get(f"{BASE}/runs/{run_id}")).json()
        return run if run["status"] in statuses else None

    return await wait_until_async(reached, 30, f"{run_id} {statuses}")


async def test_a_saved_definition_runs_with_defaults_and_inputs(served: Served) -> None:
    number = await saved(served, HELLO)

    first = (await served.client.post(f"{BASE}/{number}/run?mode=sync", json={})).json()
    second = (await served.client.post(f"{BASE}/{number}/run", json={"inputs": {"who": "Ann"}})).json()

    assert (first["status"], first["outputs"]["message"], first["inputs"]) == (
        "succeeded", "Hello world", {"who": "world"},
    )  # fmt: skip
    assert (first["id"], first["workflow_id"], first["definition_version"]) == (None, number, 1)
    ended = await at(served, second["run_id"], "succeeded")
    assert (ended["id"], ended["outputs"]["message"]) == (second["run_id"], "Hello Ann")


async def test_bad_orders_are_refused_by_name(served: Served) -> None:
    number = await saved(served, HELLO)

    async def refused(path: str, body: Any) -> tuple[int, str]:
        answer = await served.client.post(f"{BASE}/{path}", json=body)
        return answer.status_code, answer.text

    for path, body, status, told in (
        ("999/run", {}, 404, "Workflow not found"),
        ("x/run", {}, 422, "workflow_id"),
        (f"{number}/run", {"inputs": {"who": 5}}, 422, "who"),
        (f"{number}/run", {"inputs": {"who": "a", "other": 1}, "extra": 1}, 422, "extra"),
        (f"{number}/run", {"secrets": {"a": 1}}, 422, "secrets"),
        (f"{number}/run", {"validation_mode": "maybe"}, 422, "validation_mode"),
        ("run", {}, 422, "definition"),
        ("run", {"definition": {"name": "x", "steps": [{"id": "a", "type": "nothing"}]}}, 422, "Unknown step type"),
        ("runs/nothing/pause", {}, 404, "Run not found"),
        ("runs/nothing/fly", {}, 400, "Unsupported action"),
    ):
        assert (await refused(path, body))[0] == status, (path, body)
        assert told in (await refused(path, body))[1]


async def test_ad_hoc_runs_can_be_switched_off(database_url: str) -> None:
    async with serving(database_url, workflows_disable_adhoc=True) as served:
        answer = await served.client.post(f"{BASE}/run", json={"definition": HELLO})

    assert answer.status_code == 403
    assert answer.json()["detail"] == "Ad-hoc workflow runs are disabled by server configuration"


async def test_an_idempotency_key_starts_one_run(served: Served) -> None:
    number = await saved(served, HELLO)
    body = {"inputs": {"who": "x"}, "idempotency_key": "k1"}

    answers = await asyncio.gather(*(served.client.post(f"{BASE}/{number}/run", json=body) for _ in range(10)))

    assert len({answer.json()["run_id"] for answer in answers}) == 1
    header = {"Idempotency-Key": "k1"}
    same = await served.client.post(f"{BASE}/{number}/run", json={"inputs": {"who": "x"}}, headers=header)
    assert same.json()["run_id"] == answers[0].json()["run_id"]
    other = await served.client.post(f"{BASE}/{number}/run", json={"inputs": {"who": "y"}}, headers=header)
    assert other.status_code == 409
    both = await served.client.post(f"{BASE}/{number}/run", json=body, headers={"Idempotency-Key": "k2"})
    assert both.status_code == 400


async def test_a_synchronous_start_gives_up_and_the_run_goes_on(database_url: str) -> None:
    async with serving(database_url, workflows_run_timeout_sec=0.2) as served:
        answer = await served.client.post(f"{BASE}/run?mode=sync", json={"definition": ASKING})

        assert answer.status_code == 504
        assert answer.json()["detail"] == "Workflow run did not complete before the timeout window"

        async def asks() -> bool:
            [run] = (await served.client.get(f"{BASE}/runs")).json()["runs"]
            return bool(run["status"] == "waiting_approval")

        await wait_until_async(asks, what="the run to go on")


async def test_runs_are_listed_in_pages_with_links(served: Served) -> None:
    number = await saved(served, HELLO)
    ids = [(await adhoc(served, HELLO))["run_id"] for _ in range(5)]
    await served.client.post(f"{BASE}/{number}/run?mode=sync", json={})
    await adhoc(served, BROKEN)

    seen: list[str] = []
    url = f"{BASE}/runs?limit=3&status=succeeded&order=asc"
    while url:
        answer = await served.client.get(url)
        seen += [run["run_id"] for run in answer.json()["runs"]]
        links = dict(part.split("; ")[::-1] for part in answer.headers.get("link", "").split(", ") if part)
        url = links.get('rel="next"', "").strip("<>")

    assert seen[:5] == ids
    assert len(seen) == 6
    by_definition = (await served.client.get(f"{BASE}/runs?workflow_id={number}")).json()["runs"]
    assert [run["workflow_id"] for run in by_definition] == [number]
    failed = (await served.client.get(f"{BASE}/runs?error_class=template_error&status=failed,cancelled")).json()["runs"]
    assert len(failed) == 1
    assert failed[0]["status_reason"].startswith("template_error")
    page = (await served.client.get(f"{BASE}/runs?limit=2&offset=2")).json()
    assert (len(page["runs"]), page["next_offset"], page["has_more"]) == (2, 4, True)
    assert (await served.client.get(f"{BASE}/runs?cursor=broken")).status_code == 422
    assert (await served.client.get(f"{BASE}/runs?status=lost")).status_code == 422


async def test_events_are_read_in_pages_and_by_type(served: Served) -> None:
    run_id = (await adhoc(served, HELLO))["run_id"]

    everything = (await served.client.get(f"{BASE}/runs/{run_id}/events")).json()
    first = await served.client.get(f"{BASE}/runs/{run_id}/events?limit=2")
    rest = await served.client.get(f"{BASE}/runs/{run_id}/events?cursor={first.headers['next-cursor']}")

    assert [event["event_seq"] for event in everything] == list(range(1, len(everything) + 1))
    assert first.json() + rest.json() == everything
    done = (await served.client.get(f"{BASE}/runs/{run_id}/events?types=step_completed,run_completed")).json()
    assert [event["event_type"] for event in done] == ["step_completed", "step_completed", "run_completed"]
    assert done[0]["payload"]["type"] == "prompt"


async def test_steps_attempts_and_an_investigation_tell_what_happened(served: Served) -> None:
    run_id = (await adhoc(served, BROKEN))["run_id"]

    steps = (await served.client.get(f"{BASE}/runs/{run_id}/steps")).json()["steps"]
    attempts = (await served.client.get(f"{BASE}/runs/{run_id}/steps/a/attempts")).json()["attempts"]
    found = (await served.client.get(f"{BASE}/runs/{run_id}/investigation")).json()

    assert [(one["step_id"], one["type"], one["status"], one["attempt_count"]) for one in steps] == [
        ("a", "prompt", "failed", 1)
    ]
    assert (attempts[0]["reason_code_core"], attempts[0]["retryable"]) == ("template_error", False)
    assert found["failed_step"] == {"step_id": "a", "type": "prompt"}
    assert found["primary_failure"]["category"] == "definition"
    assert "missing" in found["primary_failure"]["error_summary"]
    assert found["recommended_actions"]
    assert (await served.client.get(f"{BASE}/runs/{run_id}/steps/none/attempts")).json()["attempts"] == []


async def test_a_stream_resumes_where_it_was_left(served: Served) -> None:
    run_id = (await adhoc(served, HELLO))["run_id"]
    stream = f"{BASE}/runs/{run_id}/events/stream"

    async def read(**headers: str) -> list[tuple[str, Any]]:
        found = []
        for part in (await served.client.get(stream, headers=headers)).text.split("\n\n"):
            lines = dict(line.split(": ", 1) for line in part.splitlines() if not line.startswith(":"))
            if lines:
                found.append((lines["event"], orjson.loads(lines["data"])))
        return found

    whole = await read()
    rest = await read(**{"Last-Event-ID": "3"})

    assert whole[-1] == ("end", {"run_id": run_id, "status": "succeeded"})
    assert [data["event_seq"] for _, data in whole[:-1]] == list(range(1, len(whole)))
    assert rest == whole[3:]
    assert (await served.client.get(stream, headers={"Last-Event-ID": "x"})).status_code == 422


async def test_streams_tell_what_is_written_while_they_are_open(served: Served) -> None:
    run_id = (await adhoc(served, GUARDED, "async", secrets={"k": "value-1"}))["run_id"]
    await at(served, run_id, "waiting_approval")
    before = len((await served.client.get(f"{BASE}/runs/{run_id}/events")).json())
    feeds = served.inside.engine.worker.audience.here

    async def follow(query: str = "", **headers: str) -> str:
        return (await served.client.get(f"{BASE}/runs/{run_id}/events/stream{query}", headers=headers)).text

    last = {"Last-Event-ID": str(before)}
    streams = [follow(), follow(**last), follow(**last), follow("?types=step_completed"), follow("?since=9999")]
    following = [asyncio.ensure_future(stream) for stream in streams]
    await wait_until_async(
        lambda: run_id in feeds and [one.behind for one in feeds[run_id].followers] == [False] * len(streams)
    )
    await served.client.post(f"{BASE}/runs/{run_id}/steps/ask/approve")
    whole, rest, same, some, none = [
        [part for part in (await text).split("\n\n") if part and not part.startswith(":")] for text in following
    ]

    def data(parts: list[str]) -> list[Any]:
        return [orjson.loads(part.splitlines()[-1].removeprefix("data: ")) for part in parts[:-1]]

    stored = (await served.client.get(f"{BASE}/runs/{run_id}/events")).json()
    assert data(whole) == stored
    assert rest == same == whole[before:]
    assert data(some) == [event for event in stored if event["event_type"] == "step_completed"]
    assert {parts[-1] for parts in (whole, rest, some, none)} == {whole[-1]}
    assert none == whole[-1:]
    assert whole[-1].startswith("event: end")
    assert "***!" in str(stored)
    assert "value-1" not in "".join(whole)


async def test_a_run_is_paused_resumed_cancelled_and_then_left_alone(served: Served) -> None:
    run_id = (await adhoc(served, ASKING, "async"))["run_id"]
    await at(served, run_id, "waiting_approval")

    async def act(action: str) -> tuple[int, Any]:
        answer = await served.client.post(f"{BASE}/runs/{run_id}/{action}", json={"reason": "because"})
        return answer.status_code, answer.json()

    assert await act("pause") == (200, {"ok": True, "result": "applied"})
    await at(served, run_id, "paused")
    assert await act("resume") == (200, {"ok": True, "result": "applied"})
    await at(served, run_id, "waiting_approval")
    assert (await act("cancel"))[0] == 200
    cancelled = await at(served, run_id, "cancelled")
    assert cancelled["status_reason"] == "because"
    assert (await act("cancel"))[1]["result"] == "already_applied"
    for action in ("pause", "resume", "retry"):
        assert (await act(action))[0] == 409
    assert await at(served, run_id, "cancelled") == cancelled


async def test_an_approval_goes_on_with_all_that_was_known(served: Served) -> None:
    run_id = (await adhoc(served, ASKING, "async"))["run_id"]
    await at(served, run_id, "waiting_approval")

    approve = f"{BASE}/runs/{run_id}/steps/ask/approve"
    assert (await served.client.post(approve, json={"comment": "good"})).json() == {"ok": True}

    assert (await at(served, run_id, "succeeded"))["outputs"] == {"text": "approved"}
    assert (await served.client.post(approve, json={})).status_code in {404, 409}


async def test_a_rejection_without_a_target_fails_the_run(served: Served) -> None:
    run_id = (await adhoc(served, ASKING, "async"))["run_id"]
    await at(served, run_id, "waiting_approval")

    await served.client.post(f"{BASE}/runs/{run_id}/steps/ask/reject", json={})

    assert (await at(served, run_id, "failed"))["status_reason"] == "rejected_by_human"


async def test_secrets_leave_no_trace(served: Served) -> None:
    document = {
        "name": "secret",
        "steps": [{"id": "a", "type": "prompt", "config": {"template": "key {{ secrets.token }}"}}],
    }
    run = await adhoc(served, document, secrets={"token": "hush-hush-1"})

    assert run["outputs"] == {"text": "key ***"}
    for path in ("", "/events", "/steps", "/investigation"):
        assert "hush" not in (await served.client.get(f"{BASE}/runs/{run['run_id']}{path}")).text
    assert b"hush" not in b"".join(served.lines.raw)


async def test_sealed_secrets_outlive_their_process(database_url: str) -> None:
    key: dict[str, Any] = {"workflows_secrets_key": "k" * 32}
    async with serving(database_url, **key) as served:
        run_id = (await adhoc(served, GUARDED, "async", secrets={"k": "value-1"}))["run_id"]
        await at(served, run_id, "waiting_approval")
    async with serving(database_url, **key) as served:
        await served.client.post(f"{BASE}/runs/{run_id}/steps/ask/approve")

        assert (await at(served, run_id, "succeeded"))["outputs"] == {"text": "***!"}


async def test_a_run_without_its_secret_waits_until_it_is_told_again(database_url: str) -> None:
    async with serving(database_url) as served:
        run_id = (await adhoc(served, GUARDED, "async", secrets={"k": "value-1"}))["run_id"]
        await at(served, run_id, "waiting_approval")
    async with serving(database_url) as served:
        await served.client.post(f"{BASE}/runs/{run_id}/steps/ask/approve")
        assert (await at(served, run_id, "paused"))["status_reason"] == "secret_missing"

        answer = await served.client.post(f"{BASE}/runs/{run_id}/secrets", json={"secrets": {"k": "value-2"}})

        assert answer.json()["ok"] is True
        assert (await at(served, run_id, "succeeded"))["outputs"] == {"text": "***!"}


async def test_a_completion_webhook_tells_of_every_end(database_url: str) -> None:
    open_: dict[str, Any] = {"workflows_egress_block_private": False, "workflows_egress_allowed_ports": "*"}
    receiver = Receiver()
    async with serving(database_url, workflows_webhook_secret="s" * 16, **open_) as served:
        hook = {"on_completion_webhook": receiver.url}
        good = (await adhoc(served, {**HELLO, **hook}))["run_id"]
        bad = (await adhoc(served, {**BROKEN, **hook}))["run_id"]
        gone = (await adhoc(served, {**ASKING, **hook}, "async"))["run_id"]
        await at(served, gone, "waiting_approval")
        await served.client.post(f"{BASE}/runs/{gone}/cancel")

        await wait_until_async(lambda: len(receiver.received) == 3, 30)

        told = {body["run"]["id"]: body for body in (orjson.loads(one.body) for one in receiver.received)}
        assert {run_id: told[run_id]["run"]["status"] for run_id in (good, bad, gone)} == {
            good: "succeeded", bad: "failed", gone: "cancelled",
        }  # fmt: skip
        assert told[good]["result"]["outputs"]["message"] == "Hello world"

        async def noted() -> bool:
            events = (await served.client.get(f"{BASE}/runs/{gone}/events?types=webhook_delivery")).json()
            return [event["payload"]["status"] for event in events] == ["delivered"]

        await wait_until_async(noted)
    receiver.close()


async def test_what_belongs_to_others_does_not_exist(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = (await adhoc(served, HELLO))["run_id"]
    permissions = frozenset({"workflows.runs.read", "workflows.runs.control"})
    stranger = Actor("eve", "eve", permissions=permissions)
    foreigner = Actor("max", "max", "other", role="admin")

    for actor in (stranger, foreigner):

        async def caller(_request: Any, actor: Actor = actor) -> Actor:
            return actor

        monkeypatch.setattr(callers, "caller", caller)
        monkeypatch.setattr("windlass.http.workflow_runs.caller", caller)
        monkeypatch.setattr("windlass.http.workflow_history.caller", caller)
        for path in ("", "/events", "/events/stream", "/steps", "/steps/a/attempts", "/investigation"):
            answer = await served.client.get(f"{BASE}/runs/{run_id}{path}")
            assert (answer.status_code, answer.json()["detail"]) == (404, "Run not found"), path
        assert (await served.client.post(f"{BASE}/runs/{run_id}/cancel")).status_code == 404
        assert (await served.client.get(f"{BASE}/runs")).json()["runs"] == []
