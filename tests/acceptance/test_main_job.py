"""The main job on real entries: import, processing and report survive `kill -9` at the worst moments."""

import fcntl
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import sqlalchemy as sa

from examples.debian import convert
from tests.acceptance.main_job import GATED_APP, Server, SlowLine, ended, wait_for_records
from tests.support.paths import EXAMPLES
from tests.support.waiting import wait_until

SAMPLE = EXAMPLES / "debian" / "sample" / "Packages.xz"
ENTRIES = 2000
SINGLES = 25
FIRST_BYTES = 900_000
"""Enough of the sample for one chunk of a thousand records to be stored, not enough for the second."""
FREE_CALLS = 700
"""How many records are judged before the processor stops at the gate; more than the first pages of 200."""
REASONS = {
    "synopsis has 80 characters or more": 13,
    "synopsis ends with a full stop": 11,
    "transitional package outside of oldlibs": 10,
    "synopsis begins with an article": 6,
    "classification failed: invalid payload format: installed_size: Field required": 4,
    "priority extra is deprecated": 4,
    "homepage is no web address": 1,
}
SINGLE = {
    "package": "hello", "version": "2.10-3", "architecture": "amd64", "section": "devel", "priority": "optional",
    "maintainer": "Santiago Vila <sanvila@debian.org>", "synopsis": "example package based on GNU hello",
    "installed_size": "277", "size": "52800",
}  # fmt: skip


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'main.db'}"
    dsn: str = request.getfixturevalue("pg_dsn")
    return dsn


@pytest.fixture
def server(tmp_path: Path, database: str) -> Iterator[Server]:
    """A server that is not started yet."""
    made = Server(tmp_path, database)
    (tmp_path / "gated.py").write_text(GATED_APP.replace("{free}", str(FREE_CALLS)))
    (tmp_path / "gate").touch()
    yield made
    made.stop()


def _interrupted_import(server: Server, file: Path) -> set[str]:
    """Import a file while the server is killed in the middle; return ids that it had acknowledged before."""
    line = SlowLine(server.port, FIRST_BYTES)
    try:
        importing = server.command("records", "import", str(file), "--json", url=line.url)
        assert line.full.wait(60)
        singles = [
            server.post("/records", {"source": "single", "category": "devel", "payload": SINGLE})
            for _ in range(SINGLES)
        ]
        before = wait_for_records(server, SINGLES + 1)
        server.kill()
        assert SINGLES < before < ENTRIES + SINGLES
        server.start("gated")
        line.open()
        answer = json.loads(ended(importing))
    finally:
        line.close()
    assert answer["accepted"] == ENTRIES
    assert 0 < answer["already_there"] < ENTRIES
    assert answer["refused"] == 0
    return {str(record["id"]) for record in singles}


def _interrupted_processing(server: Server, database: str) -> str:
    """Start to process everything, kill the server in the middle and start it again; return the run's id.

    In the middle means: with some settled, and some claimed that can get no further.
    """
    with (server.folder / "gate").open("rb") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        started = server.post("/records/process", {})
        assert started["matched"] == ENTRIES + SINGLES
        before = wait_for_records(server, FREE_CALLS, done=True)
        wait_until((server.folder / "at the gate").exists, 60, "a record at the gate")
        claimed = "SELECT run_id FROM workflow_runs WHERE name = 'records.process' AND holder IS NOT NULL"
        assert _rows(database, claimed)
        server.kill()
    assert before < ENTRIES
    server.start()
    return str(started["run_id"])


def _rows(database: str, statement: str) -> list[tuple[object, ...]]:
    engine = sa.create_engine(database)
    try:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(statement))]
    finally:
        engine.dispose()


def _check_records(server: Server, file: Path, acknowledged: set[str]) -> None:
    """Every line of the file and every acknowledged record is there once, processed once, with the right outcome."""
    records = [json.loads(line) for line in ended(server.command("records", "export")).split("\n") if line]
    ids = [record["id"] for record in records]
    assert len(ids) == len(set(ids)) == ENTRIES + SINGLES
    assert acknowledged <= set(ids)
    stored = Counter(_said(record) for record in records if record["source"] == "debian")
    assert stored == Counter(_said(json.loads(line)) for line in file.read_text().split("\n") if line)
    assert Counter(record["status"] for record in records) == {
        "failed": sum(REASONS.values()),
        "processed": ENTRIES + SINGLES - sum(REASONS.values()),
    }
    assert {record["attempts"] for record in records} == {1}
    assert Counter(record["error"] for record in records if record["status"] == "failed") == REASONS
    assert all(record["classification"] for record in records if record["status"] == "processed")


def _said(record: dict[str, object]) -> bytes:
    return orjson.dumps([record["category"], record["payload"]], option=orjson.OPT_SORT_KEYS)


def _check_runs(database: str) -> None:
    """Each record had one run, which settled it in one step; some of them went on after a holder's death."""
    runs = "SELECT run_id FROM workflow_runs WHERE name = 'records.process'"
    events = f"SELECT run_id, count(*) FROM workflow_events WHERE run_id IN ({runs}) AND "
    total = ENTRIES + SINGLES

    assert _rows(database, "SELECT DISTINCT status FROM workflow_runs") == [("succeeded",)]
    assert len(_rows(database, runs)) == total
    for wanted in ("event_type = 'step_completed' AND step_id = 'settle#1'", "event_type = 'run_completed'"):
        counts = _rows(database, events + f"{wanted} GROUP BY run_id")
        assert [count for _, count in counts] == [1] * total
    assert _rows(database, events + "event_type = 'run_requeued' GROUP BY run_id")
    gaps = "SELECT run_id FROM workflow_events GROUP BY run_id HAVING max(event_seq) <> count(*) OR min(event_seq) <> 1"
    assert _rows(database, gaps) == []


def _check_report(server: Server) -> None:
    """The report adds up, whichever way it is cut."""
    summary = server.get("/reports/summary")
    total, failed = ENTRIES + SINGLES, sum(REASONS.values())
    assert summary["totals"] == {"all": total, "pending": 0, "processed": total - failed, "failed": failed}
    for name in ("by_category", "by_source", "by_day"):
        rows = summary[name]
        assert isinstance(rows, list)
        assert sum(row["count"] for row in rows) == total, name
    reasons = summary["failure_reasons"]
    assert isinstance(reasons, list)
    assert {row["reason"]: row["count"] for row in reasons} == REASONS


@pytest.mark.timeout(240)
def test_the_main_job_survives_kills_and_finishes_by_itself(server: Server, database: str) -> None:
    file = server.folder / "sample.ndjson"
    assert convert.main([str(SAMPLE), "--output", str(file)]) == 0
    server.start("gated")

    acknowledged = _interrupted_import(server, file)
    run_id = _interrupted_processing(server, database)
    ended(server.command("runs", "wait", run_id))

    _check_records(server, file, acknowledged)
    _check_runs(database)
    _check_report(server)
    ended(server.local("doctor"))
    if database.startswith("sqlite"):
        assert _rows(database, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.timeout(240)
def test_a_repeated_import_stores_nothing_twice(server: Server) -> None:
    file = server.folder / "sample.ndjson"
    assert convert.main([str(SAMPLE), "--output", str(file)]) == 0
    server.start()

    first = json.loads(ended(server.command("records", "import", str(file), "--json")))
    again = json.loads(ended(server.command("records", "import", str(file), "--json")))

    assert (first["accepted"], first["already_there"]) == (ENTRIES, 0)
    assert (again["accepted"], again["already_there"]) == (ENTRIES, ENTRIES)
    assert wait_for_records(server, ENTRIES) == ENTRIES
