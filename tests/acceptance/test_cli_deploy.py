"""A change is tried on the open runs of a server without its database, and those that would strand are moved over."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.commands import Windlass, started
from tests.support.service import running_service
from tests.support.waiting import wait_until

FLOWS = """
from windlass import signal, step, workflow


@step
async def charge(card: str) -> str:
    return f"paid by {card}"


@step
async def reserve(item: str) -> str:
    return f"kept {item}"


@workflow(name="shop.order")
async def order(card: str) -> list[str]:
    paid = await charge(card)
    return [paid, await signal("shipped", timeout=86400)]
"""
SECOND = FLOWS.replace('name="shop.order"', 'name="shop.order", version="2"').replace(
    "return [paid,", 'return ["second", paid,'
)
PEOPLE = """
name: private
steps:
  - id: ask
    type: wait_for_human
    config: {assigned_to_user_id: ann, instructions: topsecret}
"""


@pytest.mark.timeout(300)
def test_a_change_is_checked_without_a_database_and_open_runs_are_moved_over(tmp_path: Path) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    (tmp_path / "private.yaml").write_text(PEOPLE)
    database = Windlass(tmp_path, {})
    with running_service(tmp_path, "--app", "flows") as service:
        server = Windlass(tmp_path, {}, ("--url", service.url))
        address = f"sqlite:///{tmp_path / 'workflow.db'}"
        runs = [asyncio.run(started(address, "shop.order", card=card)) for card in ("visa", "amex")]
        server("workflows", "push", "private.yaml")
        server("workflows", "run", "private")
        wait_until(lambda: all("'shipped'" in server("runs", "show", run_id).out for run_id in runs), 60)
        told = server("deploy", "export", "-o", "open.ndjson")
    assert told.err == "open runs written: 2\n"
    lines = (tmp_path / "open.ndjson").read_text()
    assert "topsecret" not in lines
    assert sorted(json.loads(line)["run_id"] for line in lines.splitlines()) == sorted(runs)
    again = database("deploy", "export", "--workflow", "shop.order", "--workflow", "shop.none").out
    assert sorted(again.splitlines()) == sorted(lines.splitlines())
    assert database("deploy", "export", "--workflow", "shop.none").out == ""

    nowhere = Windlass(tmp_path, {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/nothing"})
    check = ("deploy", "check", "--histories", "open.ndjson", "--app")
    assert nowhere(*check, "flows").err == "runs checked: 2, would strand: 0\n"
    (tmp_path / "second.py").write_text(SECOND)
    found = nowhere(*check, "second", code=1)
    assert found.out.splitlines()[0].split() == ["run", "workflow", "version", "where", "why"]
    assert f"  windlass deploy migrate {runs[0]} --to-version 2" in found.out.splitlines()
    assert found.err == "runs checked: 2, would strand: 2\n"
    (tmp_path / "third.py").write_text(SECOND.replace("    paid = ", '    await reserve("x")\n    paid = '))
    said = nowhere(*check, "third", "--json", code=1).json
    assert (said["checked"], {one["why"] for one in said["stranded"]}) == (2, {"version_unknown"})
    assert f"windlass deploy fork {runs[0]} --from-step charge#1" in str(said)
    assert "there is no nothing.ndjson" in nowhere("deploy", "check", "--histories", "nothing.ndjson", code=2).err
    (tmp_path / "empty").mkdir()
    assert "there is no empty/*.ndjson" in nowhere("deploy", "check", "--histories", "empty", code=2).err
    (tmp_path / "torn.ndjson").write_text(lines[:-5])
    torn = nowhere("deploy", "check", "--histories", "torn.ndjson", "--app", "flows", code=2).err
    assert "torn.ndjson, line 2: no recorded run" in torn

    kept = database("deploy", "migrate", runs[0], "--to-version", "2", "--app", "third", code=4).err
    assert "would strand with shop.order@2: " in kept
    moved = database("deploy", "migrate", runs[0], "--to-version", "2", "--app", "second", "--json").json
    assert (moved["from_version"], moved["to_version"]) == ("1", "2")
    forked = database(
        "deploy", "fork", runs[1], "--from-step", "charge#1", "--to-version", "2", "--app", "third", "--json"
    ).json
    assert (forked["from_run_id"], forked["taken_over"]) == (runs[1], 0)
    assert database("runs", "show", runs[1], "--json").json["status"] == "cancelled"
    audited = database("audit", "list", "--json").json
    rows = audited["items"] if isinstance(audited, dict) else audited
    assert {("run.migrate", f"run:{runs[0]}"), ("run.fork", f"run:{runs[1]}")} <= {
        (row["action"], row["target"]) for row in rows
    }
