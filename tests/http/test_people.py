"""People decide over HTTP: who may, once, with what they fill in, and nobody else learns that there was a question."""

import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from tests.contexts.asked import ADMIN, ANN, BOB, OWNER, ask_one
from tests.support.apps import Served, serving
from tests.support.waiting import wait_until_async
from windlass.http import callers
from windlass.kernel.actors import Actor

BASE = "/api/v1/workflows"
PEOPLE = {actor.user_id: actor for actor in (ANN, BOB, OWNER, ADMIN, Actor("guest", "guest"))}
FORM = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take who calls from a header: who they are is another context's business."""

    async def caller(request: Request) -> Actor:
        return PEOPLE[request.headers.get("x-person", "root")]

    monkeypatch.setattr(callers, "caller", caller)


async def ask(served: Served, **options: Any) -> str:
    """Start a run that asks, wait until it has, and return where its step is."""
    engine = served.inside.engine
    handle = await engine.start_run(ask_one, {"step_id": "review", "assigned_to": "ann", **options}, owner="olga")

    async def waits() -> bool:
        return (await handle.status()).status.startswith("waiting_")

    await wait_until_async(waits)
    return f"{BASE}/runs/{handle.run_id}/steps/review"


async def outcome(served: Served, step: str) -> Any:
    """Wait for what a run came to."""
    return await served.inside.engine.result(step.split("/")[-3], timeout=30)


def by(person: str) -> dict[str, str]:
    """The header of a caller."""
    return {"X-Person": person}


async def test_a_person_finds_a_question_and_approves(served: Served) -> None:
    step = await ask(served, instructions="Look", form_schema=FORM, kind="approval")
    listed = (await served.client.get(f"{BASE}/inbox", headers=by("ann"))).json()
    [item] = listed["items"]
    assert (listed["count"], listed["next_cursor"]) == (1, None)
    assert (item["step_id"], item["kind"], item["workflow"]) == ("review", "approval", "people.ask_one")
    assert (item["assigned_to"], item["form_schema"], item["owner"]) == (["ann"], FORM, "olga")
    run = (await served.client.get(f"/runs/{item['run_id']}")).json()
    assert (run["status"], run["status_reason"]) == ("waiting_approval", "awaiting_review")

    body = {"comment": "fine", "edited_fields": {"amount": 3}}
    answer = await served.client.post(f"{step}/approve", json=body, headers=by("ann"))

    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert await outcome(served, step) == ["approved", "fine", {"amount": 3}, ["ann"]]
    again = await served.client.post(f"{step}/approve", json=body, headers=by("ann"))
    assert (again.status_code, again.json()["code"]) == (409, "CONFLICT")
    assert (await served.client.get(f"{BASE}/inbox", headers=by("ann"))).json()["items"] == []


async def test_a_decision_needs_no_body(served: Served) -> None:
    approved, rejected = await ask(served), await ask(served)
    assert (await served.client.post(f"{approved}/approve", headers=by("ann"))).json() == {"ok": True}
    assert (await served.client.post(f"{rejected}/reject", headers=by("root"))).json() == {"ok": True}

    assert (await outcome(served, approved))[0] == "approved"
    assert await outcome(served, rejected) == ["rejected", None, {}, ["root"]]


@pytest.mark.parametrize("call", ["approve", "reject", "reassign"])
async def test_whoever_is_not_asked_learns_nothing(served: Served, call: str) -> None:
    step = await ask(served)
    nowhere = f"{BASE}/runs/nowhere/steps/review"
    body = {"assigned_to": "bob"} if call == "reassign" else {}
    for person, place, status, detail in [
        ("olga", step, 404, "Step run not found"),
        ("bob", step, 404, "Run not found"),
        ("bob", nowhere, 404, "Run not found"),
        ("root", nowhere, 404, "Run not found"),
        ("root", f"{step}x", 404, "Step run not found"),
        ("guest", step, 403, "Permission denied: missing workflows.runs.control"),
    ]:
        answer = await served.client.post(f"{place}/{call}", json=body, headers=by(person))
        assert (answer.status_code, answer.json()["detail"]) == (status, detail)
    await served.client.post(f"{step}/approve", headers=by("ann"))
    await outcome(served, step)


async def test_of_two_at_once_one_is_told_that_it_was_too_late(served: Served) -> None:
    for _ in range(5):
        step = await ask(served)
        answers = await asyncio.gather(
            served.client.post(f"{step}/approve", headers=by("ann")),
            served.client.post(f"{step}/reject", headers=by("root")),
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        won = "approved" if answers[0].status_code == 200 else "rejected"
        assert (await outcome(served, step))[0] == won


@pytest.mark.parametrize(
    "call,body,place",
    [
        ("approve", [], ["body"]),
        ("approve", {"comments": "x"}, ["body", "comments"]),
        ("approve", {"comment": 1}, ["body", "comment"]),
        ("reject", {"comment": "x" * 10_001}, ["body", "comment"]),
        ("approve", {"edited_fields": []}, ["body", "edited_fields"]),
        ("approve", {"edited_fields": {"amount": "1"}}, ["body", "edited_fields", "amount"]),
        ("approve", {}, ["body", "edited_fields", "amount"]),
        ("reassign", {}, ["body", "assigned_to"]),
        ("reassign", {"assigned_to": []}, ["body", "assigned_to"]),
        ("reassign", {"assigned_to": [" "]}, ["body", "assigned_to"]),
        ("reassign", {"assigned_to": ["bob", 1]}, ["body", "assigned_to"]),
        ("reassign", {"assigned_to": "bob", "why": "x"}, ["body", "why"]),
    ],
)
async def test_a_wrong_body_is_refused_by_its_field(served: Served, call: str, body: Any, place: list[str]) -> None:
    step = await ask(served, form_schema=FORM)
    answer = await served.client.post(f"{step}/{call}", json=body, headers=by("ann"))

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == place
    assert (await served.client.post(f"{step}/reject", headers=by("ann"))).status_code == 200


async def test_a_question_is_handed_on(served: Served) -> None:
    step = await ask(served)
    moved = await served.client.post(f"{step}/reassign", json={"assigned_to": ["bob"]}, headers=by("ann"))
    late = await served.client.post(f"{step}/approve", headers=by("ann"))
    done = await served.client.post(f"{step}/approve", headers=by("bob"))

    assert (moved.json(), late.status_code, done.json()) == ({"ok": True}, 404, {"ok": True})
    assert (await outcome(served, step))[3] == ["bob"]


async def test_lists_are_for_oneself_or_for_administrators(served: Served) -> None:
    steps = [await ask(served, assigned_to=name) for name in ("ann", "bob", "ann")]
    first = (await served.client.get(f"{BASE}/inbox?scope=all&limit=2")).json()
    rest = (await served.client.get(f"{BASE}/inbox?scope=all&cursor={first['next_cursor']}")).json()
    assert [item["assigned_to"] for item in first["items"] + rest["items"]] == [["ann"], ["bob"], ["ann"]]
    assert (await served.client.get(f"{BASE}/inbox", headers=by("bob"))).json()["count"] == 1
    for query, person, status in [
        ("scope=all", "ann", 403),
        ("scope=some", "ann", 422),
        ("cursor=x", "ann", 422),
        ("limit=0", "ann", 422),
        ("who=me", "ann", 422),
        ("", "guest", 403),
    ]:
        assert (await served.client.get(f"{BASE}/inbox?{query}", headers=by(person))).status_code == status
    for step in steps:
        await served.client.post(f"{step}/approve")
        await outcome(served, step)


async def test_a_cancelled_run_takes_no_decision(served: Served) -> None:
    step = await ask(served)
    await served.inside.engine.control(step.split("/")[-3], "cancel")
    answer = await served.client.post(f"{step}/approve", headers=by("ann"))

    assert (answer.status_code, answer.json()["detail"]) == (409, "the run is cancelled")
    assert (await served.client.get(f"{BASE}/inbox", headers=by("ann"))).json()["count"] == 0


async def test_a_question_outlives_the_server(database_url: str) -> None:
    async with serving(database_url) as served:
        step = await ask(served)
    async with serving(database_url, worker=False) as desk:
        assert (await desk.client.post(f"{step}/approve", headers=by("ann"))).json() == {"ok": True}
    async with serving(database_url) as served:
        assert (await outcome(served, step))[0] == "approved"
