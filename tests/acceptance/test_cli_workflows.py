"""Definitions from files to a server or database and back, as a user handles them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import Windlass
from tests.support.service import running_service

GOOD = """\
name: greeting
inputs:
  who: {type: string, default: world}
steps:
  - id: say
    type: log
    config: {message: "Hello {{ inputs.who }}"}
"""
BAD = """\
name: bad
steps:
  - id: say
    type: lgo
    on_success: nowhere
"""


@pytest.fixture
def windlass(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Windlass]:
    """The command, asking a server that wants a key, or working on a database of its own."""
    if request.param == "server":
        with running_service(tmp_path, environment={"API_KEY": "s3cret-key"}) as service:
            yield Windlass(tmp_path, {"API_KEY": "s3cret-key"}, ("--url", service.url))
    elif request.param == "postgres":
        yield Windlass(tmp_path, {"DATABASE_URL": request.getfixturevalue("migrated_pg_dsn")})
    else:
        yield Windlass(tmp_path, {})


@pytest.mark.parametrize("windlass", ["server", "postgres"], indirect=True)
@pytest.mark.timeout(300)
def test_definitions_are_pushed_and_pulled(windlass: Windlass) -> None:
    folder = windlass.folder
    (folder / "greeting.yaml").write_text(GOOD)

    def push(*options: str) -> dict[str, object]:
        [row] = windlass("workflows", "push", "greeting.yaml", "--json", *options).json
        return {name: row[name] for name in ("version", "result", "is_current")}

    assert push() == {"version": 1, "result": "created", "is_current": True}
    assert push() == {"version": 1, "result": "unchanged", "is_current": True}
    (folder / "greeting.yaml").write_text(GOOD.replace("Hello", "Good day"))
    assert push() == {"version": 2, "result": "new version", "is_current": True}
    (folder / "greeting.yaml").write_text(GOOD.replace("Hello", "Good night"))
    assert push("--no-activate") == {"version": 3, "result": "new version", "is_current": False}

    listed = windlass("workflows", "list").out.splitlines()
    assert [line.split()[1:4] for line in listed] == [["name", "version", "current"], ["greeting", "2", "yes"]]
    diff = windlass("workflows", "diff", "greeting", "2", "3").out
    assert '-        "message": "Good day {{ inputs.who }}"' in diff
    assert windlass("workflows", "activate", "greeting", "3", "--json").json["is_current"] is True
    assert windlass("workflows", "rollback", "greeting", "--json").json["version"] == 2
    shown = windlass("workflows", "show", "greeting", "--version", "3", "--json").json
    assert shown["steps"][0]["config"]["message"] == "Good night {{ inputs.who }}"

    pulled = windlass("workflows", "pull", "--to", "out", "--format", "yaml", "--json").json
    assert [row["result"] for row in pulled] == ["written"]
    (folder / "out" / "greeting.workflow.yaml").write_text("mine")
    kept = windlass("workflows", "pull", "--to", "out", "--format", "yaml", code=4)
    assert "--force" in kept.err
    windlass("workflows", "pull", "--to", "out", "--format", "yaml", "--force")
    again = windlass("workflows", "push", "out/greeting.workflow.yaml", "--json").json
    assert [(row["version"], row["result"]) for row in again] == [(2, "unchanged")]
    assert windlass("workflows", "rollback", "greeting", "--json").json["version"] == 1
    windlass("workflows", "pull", "--to", "first", "--format", "yaml")
    first = windlass("workflows", "push", "first/greeting.workflow.yaml", "--json").json
    assert [(row["version"], row["result"]) for row in first] == [(1, "unchanged")]
    windlass("workflows", "activate", "greeting", "2")

    windlass("workflows", "delete", "greeting")
    assert windlass("workflows", "show", "greeting").out.count("deleted") == 1
    assert windlass("workflows", "show", "nothing", code=3).err.startswith("windlass: there is no workflow nothing")


@pytest.mark.parametrize("windlass", ["server", "database"], indirect=True)
@pytest.mark.timeout(300)
def test_what_is_refused_is_said_with_its_line(windlass: Windlass) -> None:
    (windlass.folder / "bad.yaml").write_text(BAD)
    (windlass.folder / "good.yaml").write_text(GOOD + "version: 4\n")

    refused = windlass("workflows", "push", "bad.yaml", "good.yaml", code=2)
    assert refused.err.splitlines() == [
        "bad.yaml:4:5: error: steps.0.type: Unknown step type: lgo; did you mean log? [unknown_step_type]",
        "bad.yaml:5:5: error: steps.0.on_success: Unknown step id 'nowhere' in on_success [unknown_target]",
    ]
    assert refused.out.splitlines()[1].split()[:3] == ["good.yaml", "greeting", "4"]

    (windlass.folder / "good.yaml").write_text(GOOD.replace("Hello", "Hi") + "version: 4\n")
    other = windlass("workflows", "push", "good.yaml", code=4)
    assert "version 4 of greeting is saved and says something else" in other.err


@pytest.mark.timeout(300)
def test_files_are_checked_without_a_server(tmp_path: Path) -> None:
    windlass = Windlass(tmp_path, {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/nothing"})
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)
    (tmp_path / "torn.json").write_text('{"name": "x",\n "steps": [}')
    template = windlass("workflows", "templates", "nightly_report").out
    (tmp_path / "report.workflow.json").write_text(template)

    fine = windlass("workflows", "lint", "good.yaml", "report.workflow.json")
    wrong = windlass("workflows", "lint", "good.yaml", "bad.yaml", "torn.json", code=1)
    told = windlass("workflows", "lint", "bad.yaml", "--json", code=1).json
    careful = windlass("workflows", "lint", "report.workflow.json", "--strict", code=None)

    assert (fine.out, fine.err) == ("", "2 files are fine\n")
    assert wrong.out.splitlines() == [
        "bad.yaml:4:5: error: steps.0.type: Unknown step type: lgo; did you mean log? [unknown_step_type]",
        "bad.yaml:5:5: error: steps.0.on_success: Unknown step id 'nowhere' in on_success [unknown_target]",
        "torn.json:2:12: error: Invalid JSON: Expecting value [unreadable]",
    ]
    assert [(row["line"], row["path"]) for row in told] == [(4, "steps.0.type"), (5, "steps.0.on_success")]
    assert all("unsafe_replay_step" in line for line in careful.out.splitlines())
    asking = "{id: a, type: wait_for_human, config: {assigned_to_user_id: ann}, timeout_seconds: 4}"
    (tmp_path / "asking.yaml").write_text(f"name: asking\nsteps:\n  - {asking}\n")
    unheeded = windlass("workflows", "lint", "asking.yaml", code=1).out
    assert unheeded.startswith("asking.yaml:3:71: error: steps.0.timeout_seconds: wait_for_human waits as long as")
    assert windlass("workflows", "lint", "nowhere.yaml", code=3).err.startswith("windlass: nowhere.yaml cannot be read")
    schema = windlass("workflows", "schema").json
    assert schema["properties"]["steps"]["items"] == {"$ref": "#/$defs/step"}
    assert "nightly_report" in windlass("workflows", "templates", "--tag", "schedule").out
    assert json.loads(template)["name"] == "nightly_report"
