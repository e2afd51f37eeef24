"""Runs of definitions that are over a limit wait and then run; limits change at run time, over HTTP and in the log."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.http.test_workflow_runs import BASE, at, saved
from tests.support.apps import Served, serving
from tests.support.waiting import wait_until_async
from windlass.contexts.workflows.api import Runs
from windlass.contexts.workflows.steptypes.functions import step_function
from windlass.engine.types import RunFilter
from windlass.http import callers
from windlass.kernel.actors import WORKFLOWS_ADMIN, Actor

GATES: dict[str, asyncio.Event] = {}
STARTED: list[str] = []


@step_function("limits_gate")
async def gate(name: str) -> str:
    """Stay until the test opens the gate."""
    STARTED.append(name)
    await GATES[name].wait()
    return name


STEP = {
    "id": "gate",
    "type": "python",
    "config": {"function": "limits_gate", "arguments": {"name": "{{ inputs.gate }}"}},
}
HELD: dict[str, Any] = {"name": "held", "inputs": {"gate": "string"}, "steps": [STEP]}


@pytest.fixture(autouse=True)
def gates() -> None:
    """Gates that nobody has opened."""
    GATES.clear()
    GATES.update((name, asyncio.Event()) for name in "abcdef")
    STARTED.clear()


async def start(served: Served, number: int, name: str, **body: Any) -> str:
    answer = await served.client.post(f"{BASE}/{number}/run", json={"inputs": {"gate": name}, **body})
    assert answer.status_code == 200, answer.text
    run_id: str = answer.json()["run_id"]
    return run_id


async def reached(*names: str) -> None:
    await wait_until_async(lambda: sorted(STARTED) == sorted(names), 30, f"{STARTED} are {names}")


async def explained(served: Served, run_id: str) -> tuple[str, str, str]:
    told = (await served.client.get(f"/runs/{run_id}/explain")).json()
    return told["reason"], told["blocker"], told["detail"]


async def test_runs_over_a_limit_wait_and_then_run(served: Served) -> None:
    one, other = await saved(served, HELD), await saved(served, {**HELD, "name": "other"})
    third = await saved(served, {**HELD, "name": "third"})
    first, second = await start(served, one, "a"), await start(served, one, "b")
    middle = await start(served, other, "c")
    last = await start(served, third, "d")
    urgent = await start(served, one, "e", priority=-1)
    await reached("a", "c")

    assert await explained(served, second) == ("tenant_full", "tenant:default", (await explained(served, last))[2])
    raised = await served.client.put(f"{BASE}/limits/tenant:default", json={"limit": 9, "weight": 2})
    assert raised.json() == {"name": "tenant:default", "limit": 9, "set": True, "running": 2, "weight": 2}
    await reached("a", "c", "d")
    assert await explained(served, second) == (
        "workflow_full", f"workflow:default:{one}", f"1 of 1 places are taken: {first}",
    )  # fmt: skip
    assert (await served.client.get(f"{BASE}/runs/{second}")).json()["status"] == "queued"
    found = (await served.client.get(f"{BASE}/limits")).json()["limits"]
    assert {"name": f"workflow:default:{one}", "limit": 1, "set": False, "running": 1, "weight": None} in found

    GATES["a"].set()
    await reached("a", "c", "d", "e")
    for event in GATES.values():
        event.set()
    for run_id in (first, second, middle, last, urgent):
        assert (await at(served, run_id, "succeeded"))["outputs"]["result"] in "abcde"
    cleared = await served.client.delete(f"{BASE}/limits/tenant:default")
    assert cleared.json() == {"name": "tenant:default", "limit": 2, "set": False, "running": 0, "weight": 1}
    log = (await served.client.get("/api/v1/audit?target=limit:tenant:default")).json()["items"]
    assert [(entry["action"], entry["before"], entry["after"]) for entry in log] == [
        ("limit.clear", {"limit": 9, "weight": 2}, {"limit": None, "weight": 1}),
        ("limit.set", {"limit": None, "weight": 1}, {"limit": 9, "weight": 2}),
    ]


async def test_a_key_has_a_limit_beside_those_of_the_settings(database_url: str) -> None:
    keyed = {**HELD, "inputs": {"gate": "string", "colour": "string"}}
    keyed["concurrency"] = {"key": "{{ inputs.colour }}", "limit": 1}
    async with serving(database_url, workflows_tenant_concurrency=9, workflows_workflow_concurrency=3) as served:
        number = await saved(served, keyed)

        async def colour(name: str, value: str) -> Any:
            body = {"inputs": {"gate": name, "colour": value}}
            return (await served.client.post(f"{BASE}/{number}/run", json=body)).json()

        runs = [await colour("a", "red/1"), await colour("b", "red/1"), await colour("c", "blue")]
        await reached("a", "c")
        reason, blocker, _ = await explained(served, runs[1]["run_id"])
        assert (reason, blocker) == ("key_full", f"key:default:{number}:red%2F1")
        assert (await served.client.get(f"{BASE}/config")).json()["engine"] == {
            "tenant_concurrency": 9, "workflow_concurrency": 3,
        }  # fmt: skip
        await served.client.put(f"{BASE}/limits/key:default:{number}:red%252F1", json={"limit": 2})
        await reached("a", "b", "c")
        assert (await colour("a", ""))["detail"][0]["msg"].startswith("concurrency.key: it becomes no 1 to 200")
        for event in GATES.values():
            event.set()
        for run in runs:
            await at(served, run["run_id"], "succeeded")
        for wrong in ({"key": "{{ steps.a.outputs.x }}", "limit": 1}, {"key": "{{ inputs.a", "limit": 1}, {"key": "x"}):
            refused = await served.client.post(BASE, json={**keyed, "concurrency": wrong})
            assert (refused.status_code, "concurrency" in refused.text) == (422, True)


async def test_a_parent_that_waits_for_its_child_holds_no_place(database_url: str) -> None:
    async with serving(database_url, workflows_tenant_concurrency=1) as served:
        inner = await saved(
            served, {"name": "inner", "steps": [{"id": "x", "type": "log", "config": {"message": "in"}}]}
        )
        call = {"id": "sub", "type": "workflow_call", "config": {"workflow_id": inner}}
        logs = [{"id": name, "type": "log", "config": {"message": name}} for name in "abc"]
        off = {**call, "id": "off", "config": {"workflow_id": inner, "wait": False}}
        many = {"id": "many", "type": "parallel", "config": {"steps": logs}}
        outer = await saved(served, {"name": "outer", "steps": [many, call, off, {**many, "id": "again"}]})

        ended = await served.client.post(f"{BASE}/{outer}/run?mode=sync", json={})

        assert (ended.status_code, ended.json()["status"]) == (200, "succeeded")
        engine = served.inside.engine
        children = [run for run in await engine.list_runs() if run.parent_run_id == ended.json()["run_id"]]
        assert [(run.workflow_id, run.queue) for run in children] == [(inner, "workflows")]
        every = await engine.list_runs(RunFilter(queue="workflows"))
        assert sorted(run.attributes["workflow_name"] for run in every) == ["inner", "inner", "outer"]
        for run in every:
            await at(served, run.run_id, "succeeded")
        assert (await served.client.get(f"{BASE}/limits")).json() == {"limits": []}


async def test_who_may_change_which_limit(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(served.inside.workflows.runs, Runs)

    def calls_as(**fields: Any) -> None:
        actor = Actor("7", "ann", **{"tenant_id": "acme", "permissions": frozenset({WORKFLOWS_ADMIN}), **fields})

        async def known(_request: object) -> Actor:
            return actor

        monkeypatch.setattr("windlass.http.concurrency.caller", known)
        assert callers.caller is not known

    async def put(name: str, **body: Any) -> int:
        return (await served.client.put(f"{BASE}/limits/{name}", json=body)).status_code

    assert await put("tenant:acme", limit=3) == 200
    calls_as()
    assert await put("workflow:acme:17", limit=3) == 200
    assert (await put("tenant:acme", limit=9), await put("tenant:acme", weight=9)) == (403, 403)
    assert (await put("workflow:umbra:17", limit=3), await put("tenant:umbra", limit=3)) == (404, 404)
    named = [limit["name"] for limit in (await served.client.get(f"{BASE}/limits")).json()["limits"]]
    assert named == ["tenant:acme", "workflow:acme:17"]
    calls_as(tenant_id="ac")
    assert (await served.client.get(f"{BASE}/limits")).json() == {"limits": []}
    calls_as(permissions=frozenset())
    assert await put("workflow:acme:17", limit=3) == 403

    calls_as(kind="api_key", role="admin")
    for name in ("acme", "tenant:", "tenant:a:1", "workflow:acme", "key:acme:1:", "workflow:acme:1%20%"):
        assert await put(name, limit=1) in {400, 422}
    assert (await put("tenant:acme"), await put("workflow:acme:1", weight=2)) == (400, 400)
    assert (await put("tenant:acme", limit=0), await put("tenant:acme", weight=1001)) == (422, 422)
    assert (await put("tenant:acme", most=1), await put("tenant:acme", limit="x")) == (422, 422)
