"""The service about itself."""

import asyncio
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.apps import Served, serving
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until_async
from windlass.bootstrap import migration_lock
from windlass.http import system
from windlass.kernel.errors import ConfigError, Unavailable
from windlass.storage import migrate, urls


async def test_health_says_that_the_database_answers(served: Served) -> None:
    answer = await served.client.get("/health")

    body = answer.json()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", body["timestamp"])
    known = {"status": "healthy", "database": "connected", "timestamp": body["timestamp"]}
    assert (answer.status_code, body) == (200, known)


async def test_health_says_that_the_database_is_gone(private_pg: PostgresServer) -> None:
    async with serving(private_pg.dsn, auto_migrate=True) as served:
        private_pg.stop()

        answer = await served.client.get("/health")

        assert answer.status_code == 503
        body = answer.json()
        assert (body["status"], body["database"]) == ("unhealthy", "disconnected")
        assert body["error"] == "the database is away"
        assert "127.0.0.1" not in answer.text
        assert (await served.client.get("/records")).status_code == 503
        assert (await served.client.post("/records", json={"source": "a", "category": "b", "payload": {}})).json()[
            "error"
        ]["code"] == "SERVICE_UNAVAILABLE"
        private_pg.start()

        async def healthy() -> bool:
            return (await served.client.get("/health")).status_code == 200

        await wait_until_async(healthy, what="the database's return")


def _hide(path: Path) -> None:
    path.rename(path.with_suffix(".away"))
    path.mkdir()


def _bring_back(path: Path) -> None:
    path.rmdir()
    path.with_suffix(".away").rename(path)


async def test_a_file_that_cannot_be_read_is_said_plainly(migrated_sqlite_url: str) -> None:
    path = Path(migrated_sqlite_url.removeprefix("sqlite:///"))
    async with serving(migrated_sqlite_url) as served:
        served.inside.backend.engine.dispose()  # type: ignore[attr-defined]  # as after a restart
        _hide(path)

        answers = [await served.client.get(where) for where in ("/health", "/records", "/reports/summary")]

        _bring_back(path)
        assert [answer.status_code for answer in answers] == [503] * 3
        assert answers[1].json()["error"]["code"] == "SERVICE_UNAVAILABLE"
        assert str(path) not in "".join(answer.text for answer in answers)
        assert (await served.client.get("/records")).status_code == 200


async def test_a_frozen_server_is_not_waited_for_for_ever(
    private_pg: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(private_pg.dsn, auto_migrate=True) as served:
        assert (await served.client.get("/records")).status_code == 200
        monkeypatch.setattr("windlass.engine.worker.READ_SECONDS", 0.2)
        with private_pg.frozen():
            answer = await served.client.get("/records")

        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        monkeypatch.undo()
        assert (await served.client.get("/records")).status_code == 200


async def test_health_never_hangs(migrated_sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(migrated_sqlite_url) as served:
        stuck, asked = threading.Event(), []

        def read(question: Any) -> None:
            asked.append(question)
            stuck.wait(30)

        monkeypatch.setattr(served.inside.backend, "read", read)
        try:
            answers = await asyncio.wait_for(asyncio.gather(*(served.client.get("/health") for _ in range(5))), 10)
        finally:
            stuck.set()

        assert [answer.status_code for answer in answers] == [503] * 5
        assert answers[0].json()["error"] == "the database does not answer in time"
        assert asked.count(system._select_one) == 1


async def test_version_says_what_runs(migrated_sqlite_url: str) -> None:
    settings: dict[str, Any] = {
        "app_version": "1.2.3",
        "git_commit": "abc",
        "app_env": "staging",
        "jwt_secret_key": "k" * 32,
    }
    async with serving(migrated_sqlite_url, **settings) as served:
        answer = await served.client.get("/version")

        assert answer.json() == {"version": "1.2.3", "commit": "abc", "environment": "staging"}


async def test_the_first_page_says_where_things_are(served: Served) -> None:
    page = await served.client.get("/", headers={"Accept": "text/html,*/*"})
    data = (await served.client.get("/")).json()

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    links = re.findall(r'<a href="([^"]+)"', page.text)
    assert links == list(data["links"])
    for link in links:
        assert (await served.client.get(link)).status_code == 200
    assert "curl -X POST http://windlass/records" in data["example"]


async def test_the_documentation_asks_no_other_host(served: Served) -> None:
    page = (await served.client.get("/docs")).text

    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(addresses) >= 2
    for address in addresses:
        assert address.startswith("/")
        assert (await served.client.get(address)).status_code == 200


def samples(text: str) -> dict[str, float]:
    """The samples of a page of metrics."""
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


async def test_metrics_count_requests_runs_records_and_commits(served: Served) -> None:
    record = (await served.client.post("/records", json={"source": "a", "category": "b", "payload": {}})).json()
    await served.client.post(f"/records/{record['id']}/process")
    await served.client.get("/records/nope")
    await served.client.request("BREW", "/coffee")

    answer = await served.client.get("/metrics")

    found = samples(answer.text)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert found['windlass_http_requests_total{method="POST",route="/records",status="201"}'] == 1
    assert found['windlass_http_requests_total{method="GET",route="/records/{record_id}",status="404"}'] == 1
    assert found['windlass_http_requests_total{method="OTHER",route="unmatched",status="404"}'] == 1
    assert found['windlass_http_request_seconds_count{method="POST",route="/records"}'] == 1
    assert found['windlass_records{status="processed"}'] == 1
    assert found['windlass_open_runs{status="running"}'] == 0
    assert found['windlass_runs_ended_total{status="succeeded",workflow="records.process"}'] == 1
    assert found["windlass_commit_units_total"] >= found["windlass_commit_batches_total"] > 0
    assert all(name.startswith(("windlass_", "workflows_", "app_")) for name in found)


async def test_an_older_postgresql_database_is_refused_unless_told_to_migrate(pg_dsn: str) -> None:
    with pytest.raises(ConfigError, match=r"is empty, this version needs .*windlass db upgrade"):
        async with serving(pg_dsn):
            pass

    async with serving(pg_dsn, auto_migrate=True) as served:
        assert (await served.client.get("/records")).json()["total"] == 0


async def test_a_new_sqlite_database_is_migrated_at_start(sqlite_url: str) -> None:
    with pytest.raises(ConfigError, match="is empty"):
        async with serving(sqlite_url, auto_migrate=False):
            pass

    async with serving(sqlite_url) as served:
        assert (await served.client.get("/health")).status_code == 200


async def test_an_older_database_is_upgraded_at_start_and_the_log_says_so(database_url: str) -> None:
    url = urls.parse(database_url)
    older = migrate.downgrade(url, migration_lock(url), "-1")

    async with serving(database_url, auto_migrate=True) as served:
        [told] = served.lines.events("schema.upgraded")
    async with serving(database_url, auto_migrate=True) as served:
        assert served.lines.events("schema.upgraded") == []

    assert (told["before"], told["after"]) == (older.current, older.head)


async def test_a_newer_database_is_refused_by_name(served: Served, database_url: str) -> None:
    await served.inside.engine.transact(lambda tx: tx.execute("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(ConfigError, match="revision 9999, which this version does not know"):
        async with serving(database_url, auto_migrate=True):
            pass
    assert not migrate.inspect(served.inside.settings.database).known


async def test_an_unreachable_database_is_said_plainly() -> None:
    with pytest.raises(Unavailable, match=r"the database postgresql://me:\*\*\*@127.0.0.1:1/none cannot be reached"):
        async with serving("postgresql://me:s3cret@127.0.0.1:1/none", auto_migrate=True):
            pass


async def test_the_reason_why_it_cannot_start_is_one_line(tmp_path: Path) -> None:
    async with serving(f"sqlite:///{tmp_path}/x.db") as served:
        app = served.app
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        messages.append(message)

    app.state.settings = app.state.settings
    (tmp_path / "x.db").unlink()
    (tmp_path / "x.db").mkdir()
    with pytest.raises(Unavailable):
        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)

    assert messages[-1]["type"] == "lifespan.startup.failed"
    assert messages[-1]["message"].startswith("the database sqlite:///")
    assert "\n" not in messages[-1]["message"]
