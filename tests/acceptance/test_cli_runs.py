"""The commands of runs and queues, against a server with workflows of the user's own, and on its database."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Windlass, started
from tests.support.service import Service, running_service
from tests.support.waiting import wait_until

FLOWS = '''
"""Workflows of a user."""

from pathlib import Path

from windlass import Fatal, on_query, publish, signal, step, stream, updates, workflow


@step
async def add(a: int, b: int) -> int:
    return a + b


@workflow(name="sum")
async def sum_up(count: int) -> int:
    total = 0
    for number in range(count):
        total = await add(total, number)
    return total


@step
async def fragile() -> str:
    if not Path("mended").exists():
        raise Fatal("it is broken")
    return "fine"


@workflow(name="fragile")
async def fragile_flow() -> str:
    return await fragile()


@workflow(name="patient")
async def patient() -> dict:
    return {"paid": await signal("paid")}


@workflow(name="basket")
async def basket() -> int:
    items = []

    def check(item):
        if item in items:
            raise ValueError(f"{item} is there already")

    on_query("items", lambda: items)
    async for update in updates("add", validator=check):
        if update.payload == "done":
            break
        items.append(update.payload)
        await stream("items").write({"item": update.payload})
        publish("count", len(items))
        update.answer(len(items))
    update.answer()
    return len(items)
'''


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server that carries out the user's workflows."""
    folder = tmp_path_factory.mktemp("flows")
    (folder / "flows.py").write_text(FLOWS)
    with running_service(folder, "--app", "flows") as running:
        yield running


@pytest.fixture(params=["server", "database"])
def windlass(request: pytest.FixtureRequest, service: Service) -> Windlass:
    """The command, asking the server or working on its database."""
    return Windlass(service.folder, {}, ("--url", service.url) if request.param == "server" else ())


@pytest.fixture
def over_http(service: Service) -> Windlass:
    """The command, asking the server."""
    return Windlass(service.folder, {}, ("--url", service.url))


def start(service: Service, workflow: str, **inputs: Any) -> str:
    """Start a run from a process that carries none out."""
    return asyncio.run(started(f"sqlite:///{service.folder / 'workflow.db'}", workflow, **inputs))


def test_a_run_is_listed_shown_and_waited_for(windlass: Windlass, service: Service) -> None:
    run_id = start(service, "sum", count=3)

    waited = windlass("runs", "wait", run_id)
    shown = windlass("runs", "show", run_id).out
    events = [json.loads(line) for line in windlass("runs", "events", run_id, "--json").out.splitlines()]
    listed = windlass("runs", "list", "--name", "sum", "--limit", "1", "--json").json

    assert waited.out == "3\n"
    assert "workflow  sum" in shown
    assert "run_completed" in shown
    assert [event["event_seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["event_type"] == "run_completed"
    assert [(run["run_id"], run["status"], run["outputs"]) for run in listed] == [(run_id, "succeeded", 3)]
    assert windlass("runs", "cancel", run_id, code=4).err == f"{run_id}: run is succeeded\n"


def test_a_failed_run_is_retried_once_its_cause_is_gone(over_http: Windlass, service: Service) -> None:
    (service.folder / "mended").unlink(missing_ok=True)
    run_id = start(service, "fragile")

    failed = over_http("runs", "wait", run_id, code=1)
    assert failed.err.startswith(f"windlass: run {run_id} failed: ")
    assert "it is broken" in failed.err

    (service.folder / "mended").touch()
    over_http("runs", "retry", run_id)

    assert over_http("runs", "wait", run_id).out == '"fine"\n'
    assert "run is succeeded" in over_http("runs", "retry", run_id, code=4).err


def test_a_run_is_paused_resumed_and_cancelled(over_http: Windlass, service: Service) -> None:
    run_id = start(service, "patient")
    wait_until(lambda: "waits for the signal 'paid'" in over_http("runs", "show", run_id).out, 30, "the run to park")

    over_http("runs", "pause", run_id, "--reason", "lunch")
    paused = over_http("runs", "show", run_id, "--json").json
    assert (paused["status"], paused["why"]) == ("paused", "paused: lunch; resume it to let it go on")
    assert over_http("runs", "resume", run_id, "--json").json[0]["result"] == "applied"
    assert over_http("runs", "wait", run_id, "--timeout", "0", code=5).out == ""

    done = over_http("runs", "cancel", run_id, "no-such-run", code=3)
    assert done.err.startswith("no-such-run: ")
    assert over_http("runs", "wait", run_id, code=1).err.startswith(f"windlass: run {run_id} cancelled")


def test_events_are_followed_to_the_end(over_http: Windlass, service: Service) -> None:
    run_id = start(service, "patient")

    with over_http.running("runs", "events", run_id, "--follow", "--json") as following:
        following.says("run_started")
        over_http("runs", "cancel", run_id)

        assert following.wait() == 0
    types = [json.loads(line)["event_type"] for line in following.out.splitlines()]
    assert types[0] == "run_started"
    assert types[-1] == "run_cancelled"


def test_an_open_run_is_changed_asked_and_followed(windlass: Windlass, service: Service) -> None:
    run_id = start(service, "basket")

    with windlass.running("runs", "stream", run_id, "items", "--follow", "--json") as following:
        assert windlass("runs", "update", run_id, "add", "apple", "--update-id", "a").json == 1
        assert windlass("runs", "update", run_id, "add", '"apple"', "--update-id", "a").json == 1
        assert "apple is there already" in windlass("runs", "update", run_id, "add", "apple", code=2).err
        assert windlass("runs", "update", run_id, "add", "7").json == 2
        assert windlass("runs", "query", run_id, "items", "--json").json == ["apple", 7]
        assert "has no query 'other'" in windlass("runs", "query", run_id, "other", code=2).err
        late = windlass("runs", "update", run_id, "other", "--update-id", "x", "--timeout", "0", code=5)
        assert "update 'x' has not been answered yet" in late.err
        assert windlass("runs", "update", run_id, "add", "done").out == "null\n"
        assert following.wait() == 0

    items = [json.loads(line) for line in following.out.splitlines()]
    assert [(item["offset"], item["value"]) for item in items] == [(0, {"item": "apple"}), (1, {"item": 7})]
    assert windlass("runs", "stream", run_id, "items", "--offset", "1").out == '{"item":7}\n'
    assert windlass("runs", "published", run_id, "count").out == "2\n"
    assert windlass("runs", "published", run_id, "--json").json == {"count": 2}
    assert "has published no 'size'" in windlass("runs", "published", run_id, "size", code=3).err
    assert "succeeded and answers no queries" in windlass("runs", "query", run_id, "items", code=4).err
    assert "succeeded and takes no updates" in windlass("runs", "update", run_id, "add", "8", code=4).err


def test_queues_are_limited_and_paused(windlass: Windlass) -> None:
    windlass("queues", "limit", "mail", "3")
    assert windlass("queues", "pause", "mail", "--json").json["paused"] is True

    listed = windlass("queues", "list").out.splitlines()
    assert listed[0].split() == ["queue", "limit", "paused", "running", "ready", "open"]
    assert [line.split()[:3] for line in listed if line.startswith("mail")] == [["mail", "3", "yes"]]


def test_what_is_not_there_is_not_found(over_http: Windlass) -> None:
    assert over_http("runs", "show", "nope", code=3).err.startswith("windlass: ")
    assert "a limit is a number from 1 on" in over_http("queues", "limit", "mail", "0", code=2).err


def test_a_worker_takes_what_nobody_did_and_stops_in_order(tmp_path: Path) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    windlass = Windlass(tmp_path, {})
    windlass("records", "import", "-", stdin=b'{"source":"s","category":"c","payload":{"priority":7}}')

    left = windlass("records", "process", "--timeout", "0.1", code=5)
    run_id = left.err.split()[2]
    assert "no live process carries out records.process_many" in windlass("runs", "show", run_id).out
    assert ["queue", "failed"] in [line.split()[:2] for line in windlass("doctor", code=1).out.splitlines()]

    with windlass.running("worker", "--app", "flows", "--concurrency", "5") as worker:
        worker.says("Windlass works on")
        assert json.loads(windlass("runs", "wait", run_id).out)["processed"] == 1
        assert worker.stop() == 0

    [begun] = [line for line in map(json.loads, worker.out.splitlines()) if line["event"] == "started"]
    assert {"sum", "patient", "records.process"} <= set(begun["workflows"])


def test_a_worker_may_take_some_queues_only(tmp_path: Path) -> None:
    windlass = Windlass(tmp_path, {})
    windlass("db", "upgrade")
    run_id = windlass("records", "process", "--no-wait", "--json").json["run_id"]

    with windlass.running("worker", "--queue", "mail") as other:
        other.says("Windlass works on")
        windlass("runs", "wait", run_id, "--timeout", "1.5", code=5)
        with windlass.running("worker", "--queue", "mail", "--queue", "default"):
            windlass("runs", "wait", run_id, "--timeout", "60")
