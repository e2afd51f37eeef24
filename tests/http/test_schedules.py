"""Schedules over HTTP: what the contract names, and whose they are."""

from typing import Any

import pytest

from tests.support.apps import Served, serving
from tests.support.databases import ON_ONE_DATABASE
from windlass import workflow
from windlass.engine.registry import Registry, default_registry
from windlass.engine.types import RunFilter
from windlass.http import callers
from windlass.kernel.actors import WORKFLOWS_ADMIN, Actor

AT = "/api/v1/scheduler/workflows"
DAILY = {"workflow": "tests.greet", "cron": "0 7 * * *", "timezone": "Europe/Berlin"}
ANN = Actor("ann", "ann")
BEN = Actor("ben", "ben")
CHIEF = Actor("chief", "chief", permissions=frozenset({WORKFLOWS_ADMIN}))
STRANGER = Actor("ann", "ann", tenant_id="elsewhere", role="admin")


@pytest.fixture(autouse=True)
def _greeting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workflow that users may name, for the time of a test."""
    registry = Registry()

    @workflow(name="tests.greet", registry=registry)
    async def greet(name: str = "you") -> str:
        return f"hello {name}"

    for name, kept in vars(registry).items():
        monkeypatch.setattr(default_registry, name, kept)


@pytest.fixture
def calling(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Says who calls from now on."""
    current = [ANN]

    async def caller(_request: object) -> Actor:
        return current[0]

    monkeypatch.setattr(callers, "caller", caller)

    def become(actor: Actor) -> None:
        current[0] = actor

    return become


async def test_a_schedule_is_made_looked_at_changed_and_deleted(served: Served) -> None:
    client = served.client
    made = await client.post(AT, json=DAILY | {"name": "morning", "inputs": {"name": "Eve"}})
    one = f"{AT}/{made.json()['id']}"

    assert (made.status_code, made.json()["firing"], len(made.json()["id"])) == (201, False, 32)
    shown = (await client.get(one)).json()
    assert {name: shown[name] for name in DAILY} == DAILY
    assert shown | {"created_at": "", "updated_at": "", "next_run_at": "", "id": ""} == DAILY | {
        "id": "", "tenant_id": "default", "user_id": "dev", "workflow_id": None, "name": "morning",
        "inputs": {"name": "Eve"}, "run_mode": "async", "validation_mode": "block", "enabled": True,
        "require_online": False, "concurrency_mode": "skip", "misfire_grace_sec": 300, "coalesce": True,
        "last_run_at": None, "next_run_at": "", "last_status": None, "created_at": "", "updated_at": "",
        "firing": False,
    }  # fmt: skip
    assert (await client.get(AT)).json() == [shown]

    seen = {"If-Match": (await client.get(one)).headers["etag"]}
    changed = await client.patch(one, json={"enabled": False, "cron": "5 8 * * *", "name": None}, headers=seen)
    stale = await client.patch(one, json={"cron": "9 9 * * *"}, headers=seen)
    assert (stale.status_code, stale.json()["code"]) == (412, "PRECONDITION_FAILED")
    assert (changed.status_code, changed.json()) == (200, {"ok": True})
    after = (await client.get(one)).json()
    assert (after["cron"], after["enabled"], after["name"], after["next_run_at"]) == ("5 8 * * *", False, None, None)
    assert after["timezone"] == "Europe/Berlin"

    assert (await client.delete(one)).json() == {"ok": True}
    assert (await client.delete(one)).json() == {"ok": False}
    gone = await client.get(one)
    assert (gone.status_code, gone.json()["detail"]) == (404, "Not found")


async def test_a_schedule_runs_now(served: Served) -> None:
    one = f"{AT}/{(await served.client.post(AT, json=DAILY)).json()['id']}"

    started = await served.client.post(f"{one}/run-now", headers={"Idempotency-Key": "k"})
    again = await served.client.post(f"{one}/run-now", headers={"Idempotency-Key": "k"})

    assert started.status_code == 200
    assert started.json() == again.json()
    assert await served.inside.engine.result(started.json()["task_id"], timeout=30) == "hello you"
    page = (await served.client.get(f"{one}/fires")).json()
    assert [(fire["kind"], fire["status"], fire["run_id"]) for fire in page["items"]] == [
        ("run_now", "queued", started.json()["task_id"])
    ]
    assert page["next_cursor"] is None


async def test_a_saved_workflow_runs_with_all_its_steps(served: Served) -> None:
    steps = [{"id": "say", "type": "prompt", "config": {"template": "Hello {{ inputs.who }}"}}]
    document = {"name": "hello", "inputs": {"who": {"type": "string", "default": "world"}}, "steps": steps}
    workflow_id = (await served.client.post("/api/v1/workflows", json=document)).json()["id"]
    asked = {"workflow_id": workflow_id, "cron": "0 7 * * *"}
    wrong = await served.client.post(AT, json=asked | {"inputs": {"who": 5}})
    one = f"{AT}/{(await served.client.post(AT, json=asked | {'inputs': {'who': 'Eve'}})).json()['id']}"

    run_id = (await served.client.post(f"{one}/run-now")).json()["run_id"]
    await served.inside.engine.result(run_id, timeout=30)
    run = (await served.client.get(f"/api/v1/workflows/runs/{run_id}")).json()

    assert (wrong.status_code, wrong.json()["data"]["field"]) == (422, "inputs")
    assert (run["status"], run["workflow_id"], run["outputs"]["text"]) == ("succeeded", workflow_id, "Hello Eve")


async def test_history_is_paged(served: Served) -> None:
    one = f"{AT}/{(await served.client.post(AT, json=DAILY)).json()['id']}"
    started = [(await served.client.post(f"{one}/run-now")).json()["run_id"] for _ in range(5)]

    found: list[str] = []
    query = "limit=2"
    while query:
        page = (await served.client.get(f"{one}/fires?{query}")).json()
        found += [fire["run_id"] for fire in page["items"]]
        query = f"limit=2&cursor={page['next_cursor']}" if page["next_cursor"] else ""

    assert found == started[::-1]
    assert (await served.client.get(f"{one}/fires?cursor=x")).status_code == 422


async def test_a_dry_run_shows_twenty_times_and_stores_nothing(served: Served) -> None:
    answer = await served.client.post(f"{AT}/dry-run", json={"cron": "*/5 * * * *", "inputs": {"a": 1}})

    found = answer.json()
    assert (found["valid"], found["inputs_preview"], found["timezone"]) == (True, {"a": 1}, "UTC")
    assert len(found["next_runs"]) == 20
    assert found["next_runs"][0] == found["next_run_at"]
    assert (await served.client.get(AT)).json() == []


async def test_a_past_window_is_made_up_for(served: Served) -> None:
    one = f"{AT}/{(await served.client.post(AT, json=DAILY)).json()['id']}"
    window = {"start": "2020-01-01T00:00:00Z", "end": "2020-01-04T00:00:00Z", "per_minute": 600, "at_once": 5}

    answer = await served.client.post(f"{one}/backfill", json=window)

    assert (answer.status_code, answer.json()["slots"]) == (202, 3)
    assert await served.inside.engine.result(answer.json()["run_id"], timeout=60) == {"queued": 3}
    slots = [fire["slot"] for fire in (await served.client.get(f"{one}/fires")).json()["items"]]
    assert slots == [f"2020-01-0{day}T06:00:00.000000Z" for day in (3, 2, 1)]


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "change,field",
    [
        ({"cron": "0 7 * *"}, "cron"),
        ({"cron": "61 7 * * *"}, "cron"),
        ({"cron": "0 0 30 2 *"}, "cron"),
        ({"cron": "* * * * * *"}, "cron"),
        ({"cron": 5}, "cron"),
        ({"timezone": "Mars/Base"}, "timezone"),
        ({"timezone": "../etc/passwd"}, "timezone"),
        ({"name": ""}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"inputs": []}, "inputs"),
        ({"run_mode": "later"}, "run_mode"),
        ({"enabled": 1}, "enabled"),
        ({"concurrency_mode": "both"}, "concurrency_mode"),
        ({"misfire_grace_sec": -1}, "misfire_grace_sec"),
        ({"misfire_grace_sec": 86_401}, "misfire_grace_sec"),
        ({"misfire_grace_sec": 1.5}, "misfire_grace_sec"),
        ({"jitter_sec": 5}, "jitter_sec"),
        ({"workflow": "no name"}, "workflow"),
        ({"workflow_id": 7}, "workflow_id"),
        ({"workflow": None}, "workflow_id"),
    ],
)
async def test_what_is_wrong_is_refused_by_its_name(served: Served, change: dict[str, Any], field: str) -> None:
    made = await served.client.post(AT, json=DAILY)
    wrong = await served.client.post(AT, json=DAILY | change)
    changed = await served.client.patch(f"{AT}/{made.json()['id']}", json=change | {"name": change.get("name", "n")})

    assert wrong.status_code == 422
    assert wrong.json()["detail"][0]["loc"] == ["body", field]
    assert changed.status_code == 422
    shown = (await served.client.get(AT)).json()
    assert [(one["cron"], one["name"]) for one in shown] == [("0 7 * * *", None)]


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "change,field",
    [
        ({"workflow": "no.such"}, "workflow"),
        ({"workflow": "records.process"}, "workflow"),
        ({"workflow": None, "workflow_id": 12}, "workflow_id"),
        ({"inputs": {"age": 5}}, "inputs"),
        ({"inputs": {"name": {}}}, "inputs"),
    ],
)
async def test_what_cannot_be_run_is_refused(served: Served, change: dict[str, Any], field: str) -> None:
    wrong = await served.client.post(AT, json=DAILY | change)

    assert (wrong.status_code, wrong.json()["data"]["field"]) == (422, field)
    assert (await served.client.get(AT)).json() == []


async def test_inputs_have_a_size(served: Served) -> None:
    answer = await served.client.post(AT, json=DAILY | {"inputs": {"name": "x" * (256 * 1024)}})

    assert answer.status_code == 413


async def test_foreign_schedules_answer_403(served: Served, calling: Any) -> None:
    one = f"{AT}/{(await served.client.post(AT, json=DAILY)).json()['id']}"
    window = {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
    for actor in (BEN, STRANGER):
        calling(actor)
        answers = [
            await served.client.get(one),
            await served.client.patch(one, json={"enabled": False}),
            await served.client.delete(one),
            await served.client.post(f"{one}/run-now"),
            await served.client.post(f"{one}/backfill", json=window),
            await served.client.get(f"{one}/fires"),
        ]
        assert {answer.status_code for answer in answers} == {403}
        assert (await served.client.get(AT)).json() == []
    calling(CHIEF)
    assert (await served.client.patch(one, json={"enabled": False})).status_code == 200


async def test_only_administrators_ask_for_others(served: Served, calling: Any) -> None:
    await served.client.post(AT, json=DAILY)
    own = await served.client.get(f"{AT}?owner=ann")
    assert (own.status_code, own.json()["detail"]) == (403, "Admin-only owner filter")
    rescan = await served.client.post(f"{AT}/admin/rescan")
    assert (rescan.status_code, rescan.json()["detail"]) == (403, "Permission denied: missing workflows.admin")

    calling(CHIEF)
    assert (await served.client.get(AT)).json() == []
    assert [one["user_id"] for one in (await served.client.get(f"{AT}?owner=ann")).json()] == ["ann"]
    assert [one["user_id"] for one in (await served.client.get(f"{AT}?owner=*")).json()] == ["ann"]
    assert (await served.client.post(f"{AT}/admin/rescan")).json() == {
        "ok": True, "jobs": 1, "repaired": 0, "firing": False,
    }  # fmt: skip


async def test_lists_are_bounded(served: Served) -> None:
    made = [(await served.client.post(AT, json=DAILY)).json()["id"] for _ in range(3)]

    first = (await served.client.get(f"{AT}?limit=2")).json()
    rest = (await served.client.get(f"{AT}?limit=2&offset=2")).json()

    assert sorted(one["id"] for one in first + rest) == sorted(made)
    for query in ("limit=0", "limit=201", "offset=-1", "size=3"):
        assert (await served.client.get(f"{AT}?{query}")).status_code == 422


async def test_a_schedule_is_waited_for_by_a_server_whose_scheduler_is_on(database_url: str) -> None:
    async with serving(database_url, workflows_scheduler_enabled=True, workflows_scheduler_tz="Asia/Tokyo") as on:
        made = await on.client.post(AT, json={"workflow": "tests.greet", "cron": "0 9 * * *"})
        shown = (await on.client.get(f"{AT}/{made.json()['id']}")).json()
        ticks = await on.inside.engine.list_runs(RunFilter(name="schedules.tick"))

    assert (made.json()["firing"], shown["firing"], shown["timezone"]) == (True, True, "Asia/Tokyo")
    assert shown["next_run_at"][11:] == "00:00:00.000000Z"
    assert [tick.wake_at for tick in ticks] == [shown["next_run_at"]]
