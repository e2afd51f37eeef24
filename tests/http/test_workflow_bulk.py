"""Runs forked from a step, and many runs at once, with what would be done said before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.http.test_workflow_runs import ASKING, BASE, BROKEN, adhoc, at, saved
from tests.support.apps import Served
from windlass.cli.client.http import HttpClient
from windlass.cli.exits import CommandError, ExitCode, explain
from windlass.cli.work import starting
from windlass.cli.work.starting import Wanted
from windlass.kernel.errors import WindlassError

CHAIN: dict[str, Any] = {
    "name": "chain",
    "inputs": {"x": {"type": "string", "default": "1"}},
    "steps": [
        {"id": "a", "type": "prompt", "config": {"template": "a{{ inputs.x }}"}},
        {"id": "b", "type": "prompt", "config": {"template": "{{ a.text }}b{{ inputs.x }}"}},
        {"id": "c", "type": "prompt", "config": {"template": "{{ last.text }}c"}},
    ],
}
GRAPH: dict[str, Any] = {
    "name": "graph",
    "inputs": {"x": {"type": "string", "default": "1"}},
    "steps": [
        {"id": "a", "type": "prompt", "config": {"template": "a{{ inputs.x }}"}},
        {"id": "b", "type": "prompt", "config": {"template": "b{{ inputs.x }}"}},
        {"id": "c", "type": "prompt", "config": {"template": "{{ a.text }}{{ b.text }}"}, "depends_on": ["a", "b"]},
    ],
}


async def fork(served: Served, run_id: str, **body: Any) -> Any:
    """Fork a run."""
    answer = await served.client.post(f"{BASE}/runs/{run_id}/fork", json=body)
    return answer.status_code, answer.json()


async def bulk(served: Served, body: dict[str, Any], key: str | None = None) -> Any:
    """Do something to many runs."""
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = await served.client.post(f"{BASE}/runs/bulk", json=body, headers=headers)
    return answer.json() if answer.status_code == 200 else answer.status_code


async def test_a_fork_is_made_once_for_its_key(served: Served) -> None:
    runs = [(await adhoc(served, CHAIN))["run_id"] for _ in range(2)]
    path, key = f"{BASE}/runs/{runs[0]}/fork", {"Idempotency-Key": "once"}
    said = [
        await served.client.post(path, json=body, headers=key)
        for body in ({"from_step": "b"}, {"from_step": "b"}, {"from_step": "c"}, {"from_step": "b", "inputs": {}})
    ]
    assert [one.status_code for one in said] == [200, 200, 409, 409]
    assert said[0].json()["run_id"] == said[1].json()["run_id"]
    await at(served, said[0].json()["run_id"], "succeeded")

    order = {"action": "fork", "filter": {"status": ["succeeded"]}, "from_step": "c"}
    first = await bulk(served, order, "many")
    made = [one["new_run_id"] for one in first["runs"]]
    for run_id in made:
        await at(served, run_id, "succeeded")
    again = await bulk(served, order, "many")

    assert (first["done"], len(set(made)), again["failed"]) == (3, 3, 0)
    assert {one["result"] for one in again["runs"]} == {"already_applied"}
    assert [one["new_run_id"] for one in again["runs"] if "new_run_id" in one] == made
    assert len((await served.client.get(f"{BASE}/runs")).json()["runs"]) == 6
    assert await bulk(served, {**order, "from_step": "b"}, "many") == 409


async def test_a_fork_takes_over_what_was_done_before_its_step(served: Served) -> None:
    run_id = (await adhoc(served, CHAIN))["run_id"]

    status, made = await fork(served, run_id, from_step="b", inputs={"x": "2"})

    assert status == 200
    assert (await at(served, made["run_id"], "succeeded"))["outputs"] == {"text": "a1b2c"}
    assert (await at(served, run_id, "succeeded"))["outputs"] == {"text": "a1b1c"}
    steps = (await served.client.get(f"{BASE}/runs/{made['run_id']}/steps")).json()["steps"]
    assert [step["step_id"] for step in steps] == ["b", "c"]


async def test_a_fork_of_a_graph_does_again_what_depends_on_its_step(served: Served) -> None:
    run_id = (await adhoc(served, GRAPH))["run_id"]

    _, preview = await fork(served, run_id, from_step="b", dry_run=True)
    _, made = await fork(served, run_id, from_step="b", inputs={"x": "2"})

    assert preview == {"dry_run": True, "reexecutes": ["b", "c"]}
    assert (await at(served, made["run_id"], "succeeded"))["outputs"] == {"text": "a1b2"}


async def test_the_command_line_starts_and_forks_runs(
    served: Served,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    @asynccontextmanager
    async def open_http(_url: str, _key: str | None) -> AsyncIterator[HttpClient]:
        yield HttpClient(served.client, "here")

    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setattr("windlass.cli.client.http.open_http", open_http)
    files = {name: tmp_path / f"{name}.json" for name in ("chain", "broken", "secret")}
    secret = {"name": "secret", "steps": [{"id": "z", "type": "token_count", "config": {"text": "{{ secrets.k }}"}}]}
    for path, document in zip(files.values(), (CHAIN, BROKEN, secret), strict=True):
        path.write_bytes(orjson.dumps(document))
    await saved(served, CHAIN)

    def said() -> str:
        return capsys.readouterr().out.strip()

    for url in (None, "http://here"):
        await starting.start(str(files["chain"]), Wanted(["x=7"], wait=True), url, None)
        assert orjson.loads(said()) == {"text": "a7b7c"}
        once = Wanted(["x=8"], key=f"cli {url}"[:200].replace(" ", "-"))
        await starting.start("chain", once, url, None)
        first = said()
        await starting.start("chain", once._replace(json=True), url, None)
        assert orjson.loads(said())["run_id"] == first
        await at(served, first, "succeeded")
        await starting.fork(first, "b", Wanted(["x=1"], inputs='{"x": "2"}'), url, None, dry_run=True)
        assert said() == "b\nc"
        await starting.fork(first, "b", Wanted(inputs='{"x": "2"}', wait=True), url, None, dry_run=False)
        assert orjson.loads(said()) == {"text": "a8b2c"}
        for what, wanted, code in [
            ("chain", once._replace(pairs=["x=9"]), ExitCode.CONFLICT),
            ("chain", Wanted(["y=9"]), ExitCode.USAGE),
            ("chain", Wanted(["x"]), ExitCode.USAGE),
            ("chain", Wanted(inputs="[]"), ExitCode.USAGE),
            ("chain", Wanted(inputs=f"@{tmp_path}/nothing"), ExitCode.NOT_FOUND),
            ("chain", Wanted(secrets=["k=v"]), ExitCode.USAGE),
            ("nothing", Wanted(), ExitCode.NOT_FOUND),
            (str(tmp_path / "nothing.yaml"), Wanted(), ExitCode.NOT_FOUND),
            (str(files["broken"]), Wanted(wait=True), ExitCode.FINDING),
        ]:
            with pytest.raises((CommandError, WindlassError)) as refused:
                await starting.start(what, wanted, url, None)
            assert explain(refused.value).code == code, (what, wanted)
        said()
    (tmp_path / "k").write_text("abc\n")
    sealed = Wanted(secrets=[f"k=@{tmp_path}/k"], wait=True)
    await starting.start(str(files["secret"]), sealed, "http://here", None)
    assert orjson.loads(said())["char_count"] == 3
    with pytest.raises(CommandError, match="without WORKFLOWS_SECRETS_KEY"):
        await starting.start(str(files["secret"]), sealed, None, None)


async def test_a_fork_that_cannot_be_is_refused(served: Served) -> None:
    run_id = (await adhoc(served, CHAIN))["run_id"]

    assert (await fork(served, run_id, from_step="z"))[0] == 422
    assert (await fork(served, run_id))[0] == 422
    assert (await fork(served, run_id, from_step="a", inputs={"x": 1}))[0] == 422
    assert (await fork(served, "nothing", from_step="a"))[0] == 404


async def test_many_runs_are_previewed_and_then_cancelled(served: Served) -> None:
    waiting = [(await adhoc(served, ASKING, "async"))["run_id"] for _ in range(3)]
    for run_id in waiting:
        await at(served, run_id, "waiting_approval")
    other = (await adhoc(served, CHAIN))["run_id"]
    order: dict[str, Any] = {"action": "cancel", "filter": {"status": ["waiting_approval"]}, "reason": "cleared"}

    preview = (await served.client.post(f"{BASE}/runs/bulk", json={**order, "dry_run": True})).json()

    every = {"action": "cancel", "filter": {}, "dry_run": True}
    told = {
        action: await bulk(served, {**every, "action": action}) for action in ("cancel", "pause", "resume", "retry")
    }

    assert [one["run_id"] for one in preview["runs"]] == waiting
    assert {action: (one["matched"], one["skipped"]) for action, one in told.items()} == {
        "cancel": (3, 1), "pause": (3, 1), "resume": (0, 4), "retry": (0, 4),
    }  # fmt: skip
    assert told["pause"]["skipped_runs"] == [{"run_id": other, "reason": "run is succeeded"}]
    assert told["retry"]["skipped_runs"][0]["reason"] == "run is waiting_approval, only a failed run can be retried"
    done = await bulk(served, order)
    assert (done["matched"], done["done"], done["failed"]) == (3, 3, 0)
    for run_id in waiting:
        assert (await at(served, run_id, "cancelled"))["status_reason"] == "cleared"
    assert (await at(served, other, "succeeded"))["status"] == "succeeded"


async def test_failed_runs_are_retried_by_the_code_of_their_error(served: Served) -> None:
    run_id = (await adhoc(served, BROKEN))["run_id"]
    order: dict[str, Any] = {"action": "retry", "filter": {"error_class": "template_error"}}

    preview = (await served.client.post(f"{BASE}/runs/bulk", json={**order, "dry_run": True})).json()
    done = (await served.client.post(f"{BASE}/runs/bulk", json=order)).json()

    assert preview["runs"] == [{"run_id": run_id, "reexecutes": ["a"]}]
    assert done["done"] == 1
    assert (await served.client.post(f"{BASE}/runs/bulk", json={**order, "action": "fly"})).status_code == 422
    for wrong in ({"z": 1}, {"waiting_on": "somebody"}):
        assert (await served.client.post(f"{BASE}/runs/bulk", json={**order, "filter": wrong})).status_code == 422
