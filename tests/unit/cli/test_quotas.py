"""``windlass quotas`` and ``windlass queues drain``, in this process, on a database."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from typer.testing import CliRunner

from tests.support.commands import started
from windlass.cli.exits import CommandError, ExitCode, explain
from windlass.cli.main import app
from windlass.kernel.errors import WindlassError
from windlass.storage.migrate import engine_for
from windlass.storage.urls import parse

RUNNER = CliRunner()


def windlass(*arguments: str) -> str:
    done = RUNNER.invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(autouse=True)
def address(migrated_sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DATABASE_URL", migrated_sqlite_url)
    return migrated_sqlite_url


def test_limits_are_set_listed_and_cleared() -> None:
    made = orjson.loads(windlass("quotas", "set", "daily", "7", "--user", "ann", "--json"))
    windlass("quotas", "set", "queue_depth_all", "none", "--tenant", "*")
    listed = orjson.loads(windlass("quotas", "list", "--json"))
    shown = windlass("quotas", "list")
    in_force = {one["limit"]: one for one in orjson.loads(windlass("quotas", "list", "--user", "ann", "--json"))}
    cleared = windlass("quotas", "clear", "daily", "--user", "ann")
    again = windlass("quotas", "clear", "daily", "--user", "ann", "--json")

    assert (made["tenant_id"], made["user_id"], made["value"], made["updated_by"]) == ("default", "ann", 7, "operator")
    assert [(one["tenant_id"], one["limit"], one["value"]) for one in listed] == [
        ("*", "queue_depth_all", None), ("default", "daily", 7),
    ]  # fmt: skip
    assert "queue_depth_all" in shown
    assert (in_force["daily"]["value"], in_force["daily"]["source"], in_force["daily"]["used"]) == (7, "user", 0)
    assert (in_force["burst"]["value"], in_force["burst"]["source"]) == (60, "settings")
    assert (cleared, orjson.loads(again)) == ("cleared\n", {"cleared": False})
    for wrong in (["set", "daily", "many"], ["set", "hourly", "1"], ["list", "--url", "http://x", "--tenant", "a"]):
        with pytest.raises((CommandError, WindlassError)) as refused:
            windlass("quotas", *wrong)
        assert explain(refused.value).code is ExitCode.USAGE


def test_a_queue_is_drained(address: str) -> None:
    drained = orjson.loads(windlass("queues", "drain", "mail", "--json"))
    told = windlass("queues", "drain", "mail", "--timeout", "0")
    run_id = asyncio.run(started(address, "quotas.of_nobody"))
    engine = engine_for(parse(address))
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE workflow_runs SET holder = 'somebody', queue = 'mail'")
    engine.dispose()

    with pytest.raises(CommandError, match="1 runs of mail are still worked on after 0 s") as late:
        windlass("queues", "drain", "mail", "--timeout", "0", "--json")

    assert run_id
    assert drained == {"queue": "mail", "paused": True, "running": 0, "drained": True}
    assert told == "mail is drained, and paused\n"
    assert late.value.code is ExitCode.UNAVAILABLE
