"""What callers do with definitions and runs stands in the audit log: who, what, before, after, in which request."""

from typing import Any

import pytest

from tests.support.apps import Served
from tests.support.waiting import wait_until_async
from windlass import workflow
from windlass.contexts.identity.api import AuditQuery
from windlass.kernel.actors import RUNS_CONTROL, RUNS_READ, WORKFLOWS_ADMIN, Actor

OPERATOR = Actor("operator", "operator", role="admin", kind="operator")
BASE = "/api/v1/workflows"
RIGHTS = {
    "olga": [RUNS_READ, RUNS_CONTROL],
    "stranger": [RUNS_READ, RUNS_CONTROL],
    "root": [RUNS_READ, RUNS_CONTROL, WORKFLOWS_ADMIN],
}
SAY = {"id": "say", "type": "prompt", "config": {"template": "hello"}}
BAD = {"id": "bad", "type": "prompt", "config": {"template": "{{ nobody.knows }}"}, "retry": 0}


@workflow(name="audit_trail.plain")
async def plain() -> None:
    return None


Told = tuple[str, str, str, Any, Any]


class Desk:
    """Callers, and what was told of them."""

    def __init__(self, served: Served, keys: dict[str, Any]) -> None:
        self.served = served
        self.keys = keys
        self.calls = 0

    def id_of(self, name: str) -> str:
        found: str = self.keys[name].key.actor.user_id
        return found

    async def __call__(self, who: str, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        self.calls += 1
        headers = {"X-API-Key": self.keys[who].text, "X-Request-ID": f"call-{self.calls}"}
        answer = await self.served.client.request(method, f"{BASE}{path}", json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def told(self) -> list[Told]:
        """What the last call wrote, oldest first."""
        found = await self.served.inside.identity.entries(AuditQuery(limit=200))
        mine = [entry for entry in reversed(found) if entry["request_id"] == f"call-{self.calls}"]
        names = {self.id_of(name): name for name in self.keys}
        return [
            (names[entry["actor"]["id"]], entry["action"], entry["target"], entry["before"], entry["after"])
            for entry in mine
        ]


@pytest.fixture
async def desk(served: Served) -> Desk:
    """Three callers of one tenant."""
    identity = served.inside.identity
    return Desk(served, {name: await identity.add_key(OPERATOR, name, permissions=may) for name, may in RIGHTS.items()})


async def test_changes_of_definitions_and_starts_are_told(desk: Desk) -> None:
    document = {"name": "audited", "version": 1, "steps": [SAY]}
    one = (await desk("olga", "POST", "", document, 201))["id"]
    assert [(who, action, target) for who, action, target, _, _ in await desk.told()] == [
        ("olga", "workflow.create", f"workflow:{one}")
    ]
    two = (await desk("root", "POST", f"/{one}/versions", {**document, "version": 2}, 201))["id"]
    assert [told[1] for told in await desk.told()] == ["workflow.create_version", "workflow.admin_override"]
    await desk("olga", "POST", f"/{one}/activate")
    assert [told[1] for told in await desk.told()] == ["workflow.activate"]
    await desk("olga", "POST", f"/{two}/rollback")
    assert [told[1] for told in await desk.told()] == ["workflow.rollback"]

    run = (await desk("olga", "POST", f"/{one}/run?mode=sync", {"idempotency_key": "k"}))["run_id"]
    after = {"status": "queued", "workflow_id": one, "version": 1, "mode": "sync"}
    assert await desk.told() == [("olga", "workflow.run_saved", f"run:{run}", None, after)]
    await desk("olga", "POST", f"/{one}/run?mode=sync", {"idempotency_key": "k"})
    assert await desk.told() == []
    other = (await desk("root", "POST", f"/{one}/run?mode=sync", {}))["run_id"]
    assert [told[1:3] for told in await desk.told()] == [
        ("workflow.run_saved", f"run:{other}"),
        ("workflow.admin_override", f"run:{other}"),
    ]
    adhoc = (await desk("stranger", "POST", "/run?mode=sync", {"definition": document}))["run_id"]
    assert [told[:3] for told in await desk.told()] == [("stranger", "workflow.run_adhoc", f"run:{adhoc}")]

    await desk("stranger", "GET", f"/runs/{run}", status=404)
    assert await desk.told() == [("stranger", "run.denied", f"run:{run}", None, {"reason": "not_owner"})]
    await desk("stranger", "DELETE", f"/{one}", status=404)
    assert [told[1] for told in await desk.told()] == ["workflow.denied"]
    await desk("stranger", "GET", "/runs?owner=somebody")
    denied = {"reason": "owner_filter_denied", "owner_id": "somebody"}
    assert await desk.told() == [("stranger", "run.denied", "run:*", None, denied)]
    await desk("root", "GET", f"/runs?owner={desk.id_of('olga')}")
    assert [told[1] for told in await desk.told()] == ["run.admin_override"]
    await desk("olga", "DELETE", f"/{one}")
    assert [told[1] for told in await desk.told()] == ["workflow.delete"]
    assert (await desk.served.inside.identity.verify()).problems == []


async def test_control_calls_and_decisions_are_told(desk: Desk) -> None:
    asking = {"id": "ask", "type": "wait_for_approval", "config": {"assigned_to_user_id": desk.id_of("olga")}}
    body = {"definition": {"name": "asked", "steps": [SAY, asking]}}
    run = (await desk("olga", "POST", "/run", body))["run_id"]
    target = f"run:{run}"

    async def at(status: str) -> None:
        async def reached() -> bool:
            return (await desk.served.inside.engine.get_run(run)).status == status

        await wait_until_async(reached, 20, status)

    await at("waiting_approval")
    await desk("olga", "POST", f"/runs/{run}/pause", {"reason": "lunch"})
    paused = {"status": "paused", "result": "applied", "reason": "lunch"}
    assert await desk.told() == [("olga", "run.pause", target, {"status": "waiting_approval"}, paused)]
    await desk("root", "POST", f"/runs/{run}/resume")
    assert [told[:3] for told in await desk.told()] == [
        ("root", "run.resume", target),
        ("root", "run.admin_override", target),
    ]
    await at("waiting_approval")
    await desk("root", "POST", f"/runs/{run}/steps/ask/reassign", {"assigned_to": [desk.id_of("stranger")]})
    [reassigned, override] = await desk.told()
    assert (reassigned[1], reassigned[3]["assigned_to"]) == ("run.reassign", [desk.id_of("olga")])
    assert reassigned[4]["assigned_to"] == [desk.id_of("stranger")]
    assert override[1] == "run.admin_override"
    await desk("stranger", "POST", f"/runs/{run}/steps/ask/approve", {})
    [approved] = await desk.told()
    assert (approved[:3], approved[4]["status"]) == (("stranger", "run.approve", target), "approved")
    await at("succeeded")
    await desk("olga", "POST", f"/runs/{run}/cancel", status=409)
    assert await desk.told() == []
    fork = (await desk("olga", "POST", f"/runs/{run}/fork", {"from_step": "ask"}))["run_id"]
    forked = {"status": "queued", "forked_from": run, "from_step": "ask"}
    assert await desk.told() == [("olga", "run.fork", f"run:{fork}", None, forked)]
    run = fork
    await at("waiting_approval")
    await desk("olga", "POST", f"/runs/{fork}/steps/ask/reject", {})
    assert [told[1] for told in await desk.told()] == ["run.reject"]

    run = failed = (await desk("olga", "POST", "/run", {"definition": {"name": "bad", "steps": [BAD]}}))["run_id"]
    await at("failed")
    bulk = {"action": "retry", "filter": {"status": ["failed"], "attempt_gte": 1}}
    await desk("olga", "POST", "/runs/bulk", bulk)
    told = {(action, target, before["status"]) for _, action, target, before, _ in await desk.told()}
    assert told >= {("run.retry", f"run:{failed}", "failed")}
    assert (await desk.served.inside.identity.verify()).problems == []


async def test_the_engines_own_routes_show_what_is_ones_own(desk: Desk) -> None:
    served, engine = desk.served, desk.served.inside.engine
    waiting = {"id": "ask", "type": "wait_for_approval", "config": {"assigned_to_user_id": "nobody"}}
    body = {"definition": {"name": "private", "steps": [waiting]}}
    private = (await desk("olga", "POST", "/run", body))["run_id"]
    record = (await engine.start_run(plain)).run_id
    delivery = (await engine.start_run("webhooks.redeliver", 1, "worker", delay=1000)).run_id
    foreign = (await engine.start_run(plain, tenant_id="acme")).run_id
    known = {private, record, delivery, foreign}

    async def seen(headers: dict[str, str]) -> set[str]:
        listed = {run["run_id"] for run in (await served.client.get("/runs", headers=headers)).json()["items"]}
        for run_id in known:
            for path in ("", "/events", "/explain"):
                answer = await served.client.get(f"/runs/{run_id}{path}", headers=headers)
                assert answer.status_code == (200 if run_id in listed else 404), (run_id, path)
        return listed & known

    def key(name: str) -> dict[str, str]:
        return {"X-API-Key": desk.keys[name].text}

    acme = await served.inside.identity.add_key(OPERATOR, "acme", "acme", permissions=[RUNS_READ])
    blind = await served.inside.identity.add_key(OPERATOR, "blind")
    assert await seen({"Authorization": "Bearer nonsense"}) == {record}
    assert await seen({"X-API-Key": blind.text}) == {record}
    assert await seen(key("stranger")) == {record}
    assert await seen(key("olga")) == {record, private}
    assert await seen(key("root")) == {record, private, delivery}
    assert await seen({"X-API-Key": acme.text}) == {record, foreign}
    assert await seen({}) == {record, private, delivery}

    for headers, status in ((key("stranger"), 404), ({"X-API-Key": acme.text}, 404), (key("olga"), 200)):
        assert (await served.client.post(f"/runs/{private}/cancel", headers=headers)).status_code == status
    [cancelled] = await served.inside.identity.entries(AuditQuery(action="run.cancel"))
    assert (cancelled["actor"]["id"], cancelled["target"]) == (desk.id_of("olga"), f"run:{private}")
