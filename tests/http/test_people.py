"""People decide over HTTP: who may, once, with what they fill in, and nobody else learns that there was a question."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from tests.contexts.people.asked import ask_one
from tests.support.apps import Served, serving
from tests.support.databases import ON_ONE_DATABASE
from tests.support.waiting import wait_until_async
from windlass.kernel.actors import RUNS_CONTROL, RUNS_READ, WORKFLOWS_ADMIN, Actor

BASE = "/api/v1/workflows"
OPERATOR = Actor("operator", "ann", role="admin", kind="operator")
RIGHTS = {
    "ann": [RUNS_READ, RUNS_CONTROL],
    "bob": [RUNS_READ, RUNS_CONTROL],
    "olga": [RUNS_READ, RUNS_CONTROL],
    "root": [RUNS_READ, RUNS_CONTROL, WORKFLOWS_ADMIN],
    "guest": [],
}
FORM = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}


@dataclass
class Office:
    """A server, and people with a key each: by name their ids and headers. Olga owns the runs."""

    served: Served
    ids: dict[str, str]
    headers: dict[str, dict[str, str]]

    async def post(self, person: str, path: str, body: Any = None) -> httpx2.Response:
        """Call as somebody."""
        if body is None:
            return await self.served.client.post(path, headers=self.headers[person])
        return await self.served.client.post(path, json=body, headers=self.headers[person])

    async def inbox(self, person: str, query: str = "") -> Any:
        """List what waits for somebody."""
        answer = await self.served.client.get(f"{BASE}/inbox?{query}", headers=self.headers[person])
        return answer.json()

    async def ask(self, assigned_to: str = "ann", **options: Any) -> str:
        """Start a run that asks, wait until it has, and return where its step is."""
        engine = self.served.inside.engine
        asked = {"step_id": "review", "assigned_to": self.ids[assigned_to], **options}
        handle = await engine.start_run(ask_one, asked, owner=self.ids["olga"])

        async def waits() -> bool:
            return (await handle.status()).status.startswith("waiting_")

        await wait_until_async(waits)
        return f"{BASE}/runs/{handle.run_id}/steps/review"

    async def outcome(self, step: str) -> Any:
        """Wait for what a run came to."""
        return await self.served.inside.engine.result(step.split("/")[-3], timeout=30)


async def people(served: Served) -> Office:
    """Let everybody in."""
    identity = served.inside.identity
    keys = {name: await identity.add_key(OPERATOR, name, permissions=rights) for name, rights in RIGHTS.items()}
    ids = {name: f"key:{key.key.key_id}" for name, key in keys.items()}
    return Office(served, ids, {name: {"X-API-Key": key.text} for name, key in keys.items()})


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    """The started application, where callers are asked who they are."""
    async with serving(database_url, api_key="s3cret-key") as served:
        yield await people(served)


async def test_a_person_finds_a_question_and_approves(office: Office) -> None:
    step = await office.ask(instructions="Look", form_schema=FORM, kind="approval")
    listed = await office.inbox("ann")
    [item] = listed["items"]
    assert (listed["count"], listed["next_cursor"]) == (1, None)
    assert (item["step_id"], item["kind"], item["workflow"]) == ("review", "approval", "people.ask_one")
    assert (item["assigned_to"], item["form_schema"], item["owner"]) == ([office.ids["ann"]], FORM, office.ids["olga"])
    run = (await office.served.client.get(f"/runs/{item['run_id']}")).json()
    assert (run["status"], run["status_reason"]) == ("waiting_approval", "awaiting_review")

    body = {"comment": "fine", "edited_fields": {"amount": 3}}
    answer = await office.post("ann", f"{step}/approve", body)

    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert await office.outcome(step) == ["approved", "fine", {"amount": 3}, [office.ids["ann"]]]
    again = await office.post("ann", f"{step}/approve", body)
    assert (again.status_code, again.json()["code"]) == (409, "CONFLICT")
    assert (await office.inbox("ann"))["items"] == []


async def test_a_decision_needs_no_body(office: Office) -> None:
    approved, rejected = await office.ask(), await office.ask()
    assert (await office.post("ann", f"{approved}/approve")).json() == {"ok": True}
    assert (await office.post("root", f"{rejected}/reject")).json() == {"ok": True}

    assert (await office.outcome(approved))[0] == "approved"
    assert await office.outcome(rejected) == ["rejected", None, {}, [office.ids["root"]]]


@pytest.mark.parametrize("call", ["approve", "reject", "reassign"])
async def test_whoever_is_not_asked_learns_nothing(office: Office, call: str) -> None:
    step = await office.ask()
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
        answer = await office.post(person, f"{place}/{call}", body)
        assert (answer.status_code, answer.json()["detail"]) == (status, detail)
    await office.post("ann", f"{step}/approve")
    await office.outcome(step)


async def test_of_two_at_once_one_is_told_that_it_was_too_late(office: Office) -> None:
    for _ in range(5):
        step = await office.ask()
        answers = await asyncio.gather(office.post("ann", f"{step}/approve"), office.post("root", f"{step}/reject"))
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        won = "approved" if answers[0].status_code == 200 else "rejected"
        assert (await office.outcome(step))[0] == won


@ON_ONE_DATABASE
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
async def test_a_wrong_body_is_refused_by_its_field(office: Office, call: str, body: Any, place: list[str]) -> None:
    step = await office.ask(form_schema=FORM)
    answer = await office.post("ann", f"{step}/{call}", body)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == place
    assert (await office.post("ann", f"{step}/reject")).status_code == 200


async def test_a_question_is_handed_on(office: Office) -> None:
    step = await office.ask()
    moved = await office.post("ann", f"{step}/reassign", {"assigned_to": [office.ids["bob"]]})
    late = await office.post("ann", f"{step}/approve")
    done = await office.post("bob", f"{step}/approve")

    assert (moved.json(), late.status_code, done.json()) == ({"ok": True}, 404, {"ok": True})
    assert (await office.outcome(step))[3] == [office.ids["bob"]]


async def test_where_no_users_are_kept_names_are_free(office: Office) -> None:
    step = await office.ask()

    assert (await office.post("ann", f"{step}/reassign", {"assigned_to": ["zoe", "role:boss"]})).status_code == 422
    assert (await office.post("ann", f"{step}/reassign", {"assigned_to": "zoe"})).status_code == 200
    assert (await office.inbox("root", "scope=all"))["items"][0]["assigned_to"] == ["zoe"]
    assert (await office.post("root", f"{step}/approve")).status_code == 200


async def test_lists_are_for_oneself_or_for_administrators(office: Office) -> None:
    steps = [await office.ask(name) for name in ("ann", "bob", "ann")]
    first = await office.inbox("root", "scope=all&limit=2")
    rest = await office.inbox("root", f"scope=all&cursor={first['next_cursor']}")
    seen = [item["assigned_to"] for item in first["items"] + rest["items"]]
    assert seen == [[office.ids[name]] for name in ("ann", "bob", "ann")]
    assert (await office.inbox("bob"))["count"] == 1
    for query, person, code in [
        ("scope=all", "ann", "FORBIDDEN"),
        ("scope=some", "ann", "VALIDATION_ERROR"),
        ("cursor=x", "ann", "VALIDATION_ERROR"),
        ("limit=0", "ann", "VALIDATION_ERROR"),
        ("who=me", "ann", "VALIDATION_ERROR"),
        ("", "guest", "FORBIDDEN"),
    ]:
        assert (await office.inbox(person, query))["code"] == code
    for step in steps:
        await office.post("root", f"{step}/approve")
        await office.outcome(step)


async def test_a_cancelled_run_takes_no_decision(office: Office) -> None:
    step = await office.ask()
    await office.served.inside.engine.control(step.split("/")[-3], "cancel")
    answer = await office.post("ann", f"{step}/approve")

    assert (answer.status_code, answer.json()["detail"]) == (409, "the run is cancelled")
    assert (await office.inbox("ann"))["count"] == 0


async def test_a_question_outlives_the_server(database_url: str) -> None:
    async with serving(database_url, api_key="s3cret-key") as served:
        office = await people(served)
        step = await office.ask()
    async with serving(database_url, api_key="s3cret-key", worker=False) as served:
        desk = Office(served, office.ids, office.headers)
        assert (await desk.post("ann", f"{step}/approve")).json() == {"ok": True}
    async with serving(database_url, api_key="s3cret-key") as served:
        assert (await Office(served, office.ids, office.headers).outcome(step))[0] == "approved"


async def test_people_are_asked_by_name_or_id_and_count_once(database_url: str) -> None:
    own: dict[str, Any] = {"api_key": "s3cret-key", "jwt_secret_key": "0123456789abcdef" * 2, "auth_mode": "multi_user"}
    async with serving(database_url, **own) as served:
        identity = served.inside.identity
        ids, headers = {}, {}
        for name in ("Bob", "carl"):
            ids[name] = (
                await identity.add_user(OPERATOR, name, "correct horse", permissions=RIGHTS["ann"])
            ).user.user_id
            login = await served.client.post("/auth/login", data={"username": name, "password": "correct horse"})
            headers[name] = {"Authorization": f"Bearer {login.json()['access_token']}"}
        key = await identity.add_key(OPERATOR, "bob", permissions=RIGHTS["ann"])
        headers["a key labelled bob"] = {"X-API-Key": key.text}
        office = Office(served, {**ids, "olga": "olga"}, headers)
        config = {"assigned_to_user_id": ["bob", "BOB", ids["carl"]], "quorum": 2, "form_schema": FORM}
        asking = {"name": "named", "steps": [{"id": "review", "type": "wait_for_approval", "config": config}]}
        body = {"definition": asking, "inputs": {}}
        run_id = (await served.client.post(f"{BASE}/run", json=body, headers={"X-API-Key": "s3cret-key"})).json()[
            "run_id"
        ]
        step = f"{BASE}/runs/{run_id}/steps/review"

        async def asked() -> bool:
            return bool((await office.inbox("Bob"))["items"])

        await wait_until_async(asked)
        [item] = (await office.inbox("Bob"))["items"]
        assert (item["assigned_to"], item["form_schema"], item["kind"]) == (["bob", ids["carl"]], FORM, "approval")
        assert item["workflow"] == "named"
        assert [(await office.inbox(name))["count"] for name in headers] == [1, 1, 0]
        fields = {"edited_fields": {"amount": 3}}
        for person, said, status in [
            ("a key labelled bob", fields, 404),
            ("Bob", {"edited_fields": {"amount": "3"}}, 422),
            ("Bob", fields, 200),
            ("Bob", fields, 409),
        ]:
            assert (await office.post(person, f"{step}/approve", said)).status_code == status
        assert (await office.inbox("Bob"))["items"] == []
        far = await identity.add_user(OPERATOR, "far", "correct horse", "acme")
        gone = await identity.add_key(OPERATOR, "gone")
        await identity.revoke_key(OPERATOR, gone.key.key_id)
        nobody = ["carll", "far", far.user.user_id, "999", f"0{ids['carl']}", "key:none", f"key:{gone.key.key_id}",
                  "role:boss"]  # fmt: skip
        refused = await office.post("carl", f"{step}/reassign", {"assigned_to": ["bob", *nobody]})
        assert (refused.status_code, [one["loc"] for one in refused.json()["detail"]]) == (
            422, [["body", "assigned_to"]] * len(nobody)
        )  # fmt: skip
        assert [one["msg"] for one in refused.json()["detail"]] == [f"There is nobody called {one!r}" for one in nobody]
        known = ["role:admin", f"key:{key.key.key_id}", "dev", "Carl"]
        assert (await office.post("carl", f"{step}/reassign", {"assigned_to": known})).status_code == 200
        assert (await office.post("carl", f"{step}/reassign", {"assigned_to": ["bob", "Carl"]})).status_code == 200
        assert [(await office.inbox(name))["count"] for name in headers] == [0, 1, 0]
        assert (await office.post("carl", f"{step}/approve", fields)).status_code == 200
        outputs = await office.outcome(step)
        assert (outputs["decided_by"], outputs["amount"]) == ([ids["Bob"], ids["carl"]], 3)
        early = Office(served, {**ids, "zoe": "zoe", "olga": "olga"}, headers)
        step = await early.ask("zoe")  # nobody yet
        await identity.add_user(OPERATOR, "Zoe", "correct horse", permissions=RIGHTS["ann"])
        login = await served.client.post("/auth/login", data={"username": "zoe", "password": "correct horse"})
        headers["zoe"] = {"Authorization": f"Bearer {login.json()['access_token']}"}
        assert (await early.inbox("zoe"))["count"] == 1
        assert (await early.post("zoe", f"{step}/approve")).status_code == 200
