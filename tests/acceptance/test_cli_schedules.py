"""The commands of schedules, against a server and on its database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import Windlass
from tests.support.service import Service, running_service

FLOWS = '''
"""Workflows of a user."""

from windlass import workflow


@workflow(name="greet")
async def greet(name: str = "you") -> str:
    return f"hello {name}"
'''


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server that carries out the user's workflows, and fires nothing."""
    folder: Path = tmp_path_factory.mktemp("flows")
    (folder / "flows.py").write_text(FLOWS)
    with running_service(folder, "--app", "flows") as running:
        yield running


@pytest.fixture(params=["server", "database"])
def windlass(request: pytest.FixtureRequest, service: Service) -> Windlass:
    """The command, asking the server or working on its database."""
    over_http = request.param == "server"
    return Windlass(service.folder, {"APP_MODULES": "flows"}, ("--url", service.url) if over_http else ())


def test_a_schedule_is_made_changed_run_and_deleted(windlass: Windlass) -> None:
    made = windlass("schedules", "create", "0 7 * * MON-FRI", "--workflow", "greet", "--timezone", "Europe/Berlin")
    one = made.out.strip()
    assert "WORKFLOWS_SCHEDULER_ENABLED=true" in made.err

    changed = windlass("schedules", "update", one, "--inputs", '{"name": "Eve"}', "--overlap", "queue", "--json").json
    assert (changed["inputs"], changed["concurrency_mode"], changed["cron"]) == (
        {"name": "Eve"},
        "queue",
        "0 7 * * MON-FRI",
    )
    assert windlass("schedules", "pause", one, "--json").json["next_run_at"] is None
    assert windlass("schedules", "resume", one, "--json").json["next_run_at"] is not None
    assert "Europe/Berlin" in windlass("schedules", "show", one).out

    run = windlass("schedules", "run-now", one).out.strip()
    begun = windlass("schedules", "backfill", one, "2026-01-05T00:00:00Z", "2026-01-09T00:00:00Z", "--json").json
    assert begun["slots"] == 4
    assert run in windlass("schedules", "fires", one).out
    [listed] = windlass("schedules", "list", "--json").json
    assert (listed["id"], listed["last_status"]) == (one, "queued")

    windlass("schedules", "delete", one)
    assert f"no schedule {one}" in windlass("schedules", "delete", one, code=3).err


def test_what_is_wrong_is_said(windlass: Windlass) -> None:
    assert "cron: " in windlass("schedules", "create", "61 7 * * *", "--workflow", "greet", code=2).err
    assert "no workflow 'nobody'" in windlass("schedules", "create", "0 7 * * *", "--workflow", "nobody", code=2).err
    assert "is no JSON" in windlass("schedules", "create", "0 7 * * *", "--inputs", "{", code=2).err
    assert "Not found" in windlass("schedules", "show", "0" * 32, code=3).err


def test_the_next_times_are_shown(windlass: Windlass) -> None:
    assert len(windlass("schedules", "preview", "*/5 * * * *").out.splitlines()) == 20
