"""The statements find their rows by index, from the first row on and for ever: a plan is made once and kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from tests.storage.databases import Database
from tests.storage.scene import Scene
from tests.support.databases import fresh_postgres
from windlass.engine.types import RunFilter
from windlass.kernel.lanes import LaneRules, lane_of
from windlass.storage.postgres import lanes, sql
from windlass.storage.postgres.backend import PostgresBackend
from windlass.storage.postgres.connect import connect
from windlass.storage.postgres.wire import Reply, Value, Wire
from windlass.storage.run_lists import RunQuery, list_page
from windlass.storage.snapshots import one_moment
from windlass.storage.urls import parse

Admin = psycopg.Connection[tuple[object, ...]]

IDS = json.dumps([f"run-{n:06d}" for n in range(3)])
HEADS = json.dumps([[f"run-{n:06d}", "running", None, None, "h", 1, 0, None, None, 0, None] for n in range(3)])

STATEMENTS: dict[str, tuple[str, list[object], str]] = {
    "lock": (sql.LOCK, [IDS], "pk_workflow_runs"),
    "bump": (sql.BUMP, [json.dumps([["run-000001", 2, 0]])], "pk_workflow_runs"),
    "write": (sql.WRITE, [HEADS], "pk_workflow_runs"),
    "finish": (sql.FINISH, [HEADS], "pk_workflow_runs"),
    "hold": (sql.HOLD, ["h", IDS], "pk_workflow_runs"),
    "held": (sql.HELD, ["h", 100], "ix_workflow_runs_holder"),
    "children": (sql.CHILDREN, [IDS, 10], "ix_workflow_runs_parent"),
    "ready": (sql.READY, ['["w"]', None, "[]", 10], "ix_workflow_runs_ready"),
    "promote": (sql.PROMOTE, [1, 10], "ix_workflow_runs_wake"),
    "next wake": (sql.NEXT_WAKE, [], "ix_workflow_runs_wake"),
    "forget lease": (sql.FORGET_LEASE, ["h"], "ix_workflow_runs_holder"),
    "load events": (sql.LOAD_EVENTS, [IDS], "pk_workflow_events"),
    "load inbox": (sql.LOAD_INBOX, [IDS], "ix_workflow_inbox_run_id_arrival"),
    "consume": (sql.CONSUME, [IDS], "uq_workflow_inbox_inbox_id"),
    "discard": (sql.DISCARD, [IDS], "uq_workflow_inbox_inbox_id"),
    "tenants of lanes": (lanes.TENANTS, ["", 2], "ix_workflow_runs_lanes"),
    "lanes": (lanes.LANES, ['[["acme", ""], ["umbra", "umbra/2//"]]', 1], "ix_workflow_runs_lanes"),
    "first of lanes": (lanes.FOUND, ['[["acme/1//", 3]]'], "ix_workflow_runs_lanes"),
    "tenants without": (lanes.LOCK_IDLE, ['["acme", "umbra"]'], "ix_workflow_runs_lanes"),
    "others": (sql.ANY, [], "ix_workflow_runs_ready"),
    "taken seats": (lanes.TAKEN, ['["acme"]'], "pk_workflow_seats"),
    "free seats": (sql.FREE_SEATS, [IDS], "ix_workflow_seats_run_id"),
    "free slots": (sql.FREE_SLOTS, [IDS], "ix_workflow_queue_slots_run_id"),
}

RUNS = """INSERT INTO workflow_runs
 (run_id, name, status, holder, ready_at, wake_at, parent_run_id, inputs_json, created_at)
 SELECT 'run-' || lpad(n::text, 6, '0'), 'w', CASE n % 10 WHEN 0 THEN 'running' ELSE 'succeeded' END,
 CASE n % 100 WHEN 0 THEN 'h' END, CASE n % 100 WHEN 1 THEN n END, CASE n % 100 WHEN 2 THEN n END,
 CASE n % 100 WHEN 3 THEN 'run-000000' END, '{}', now() - n * interval '1 second' FROM generate_series(0, 19999) n"""
EVENTS = """INSERT INTO workflow_events (run_id, event_seq, event_type, payload_json, created_at)
 SELECT 'run-' || lpad((n / 4)::text, 6, '0'), n % 4, 'e', '{}', now() FROM generate_series(0, 19999) n"""
INBOX = """INSERT INTO workflow_inbox (inbox_id, run_id, kind, name, payload_json, created_at)
 SELECT 'i' || n, 'run-' || lpad(n::text, 6, '0'), 'signal', 's', '{}', now() FROM generate_series(0, 9999) n"""


def plan(dsn: str, statement: str, parameters: list[object], *, sorts: bool, explain: str = "COSTS OFF") -> str:
    """Return the plan that a session that writes keeps for a statement."""
    with connect(parse(dsn), sql.SETTINGS) as raw:
        if not sorts:
            raw.execute(b"SET enable_sort = off")
        raw.execute(f"PREPARE statement AS {statement}".encode())
        given = ", ".join(psycopg.sql.Literal(value).as_string(raw) for value in parameters)
        execute = f"EXECUTE statement ({given})" if parameters else "EXECUTE statement"
        rows = raw.execute(f"EXPLAIN ({explain}) {execute}".encode()).fetchall()
    return "\n".join(row[0] for row in rows)


@pytest.fixture
def pg_dsn(pg_server_dsn: str, pg_model: str) -> Iterator[str]:
    """A database whose statistics no test before has made."""
    with fresh_postgres(pg_server_dsn, template=pg_model) as dsn:
        yield dsn


@pytest.fixture
def full(database: Database, admin: Admin) -> None:
    """A database with history, much of it finished."""
    for statement in (RUNS, EVENTS, INBOX):
        admin.execute(statement.encode())
    admin.execute("ANALYZE")


def scans(dsn: str) -> dict[str, str]:
    """Return the plans that do not use the index they should."""
    plans = {
        what: plan(dsn, statement, parameters, sorts=what != "ready")
        for what, (statement, parameters, _) in STATEMENTS.items()
    }
    scan = re.compile(r"Seq Scan on workflow_(runs|events|inbox|seats)")
    return {what: found for what, found in plans.items() if STATEMENTS[what][2] not in found or scan.search(found)}


@pytest.mark.usefixtures("database")
def test_a_plan_made_on_empty_tables_uses_the_index(pg_dsn: str) -> None:
    assert scans(pg_dsn) == {}


@pytest.mark.usefixtures("full")
def test_a_plan_made_on_full_tables_uses_the_index(pg_dsn: str) -> None:
    assert scans(pg_dsn) == {}


FULL = """INSERT INTO workflow_runs (run_id, name, status, lane, ready_at, inputs_json, created_at)
 SELECT 'full-' || n, 'w', 'queued', 'acme/' || n % 50 || '//', n, '{}', now() FROM generate_series(1, 20000) n"""
SEATS = "INSERT INTO workflow_seats SELECT 'acme', 'somebody-' || n FROM generate_series(1, 2) n"


@pytest.mark.usefixtures("full")
def test_the_statements_of_a_claim_are_bounded(admin: Admin, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of tenants, lanes and runs, and of runs behind a full limit."""
    statements: list[str] = []
    sending = Wire.send

    def send(wire: Wire, statement: str, *given: Value) -> Reply:
        statements.append(statement)
        return sending(wire, statement, *given)

    def asked(wanted: list[str]) -> int:
        tx = scene.session.begin(10**6)
        statements.clear()
        found = tx.claim_lanes("h", ["w"], None, 10, LaneRules(), "")
        many = len(statements)
        scene.session.rollback()
        assert [run.head.run_id for run in found.runs] == wanted
        return many

    monkeypatch.setattr(Wire, "send", send)

    for statement in (FULL, SEATS):
        admin.execute(statement.encode())
    assert asked([]) == 6
    wanted = [scene.start(run_id="b", lane=lane_of("beta", "7"))]
    one = asked(wanted)
    wanted.extend(scene.start(run_id=f"c{n}", lane=lane_of(f"c{n}", str(n))) for n in range(9))
    assert asked(wanted) == one == 13


def test_a_question_for_tenants_steps_over_a_million(admin: Admin, pg_dsn: str) -> None:
    for statement in (FULL, SEATS):
        admin.execute(statement.encode())
    admin.execute("VACUUM ANALYZE workflow_runs")

    found = plan(pg_dsn, lanes.TENANTS, ["", 2], sorts=True, explain="ANALYZE, COSTS OFF, BUFFERS OFF")

    looked_at = re.findall(r" on workflow_runs.* rows=([\d.]+) loops=(\d+)", found)
    assert 0 < sum(float(rows) * int(loops) for rows, loops in looked_at) < 5, found


CLOSED = """INSERT INTO workflow_runs (run_id, name, status, queue, priority, ready_at, inputs_json, created_at)
 SELECT queue || '-' || n, 'w', 'queued', queue, -1, n, '{}', now()
 FROM generate_series(1, 5000) n, (VALUES ('paused'), ('full')) closed (queue)"""
QUEUES = "INSERT INTO workflow_queues VALUES ('paused', NULL, true), ('full', 1, false)"
SLOT = "INSERT INTO workflow_queue_slots (queue, slot, run_id) VALUES ('full', 1, 'run-000000')"


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("opened", [1, 2])
def test_a_claim_does_not_look_at_runs_of_closed_queues(admin: Admin, pg_dsn: str, opened: int) -> None:
    for statement in (CLOSED, QUEUES, SLOT):
        admin.execute(statement.encode())
    if opened == 2:
        admin.execute("UPDATE workflow_runs SET queue = 'second' WHERE ready_at % 200 = 1")

    found = plan(pg_dsn, sql.READY, ['["w"]', None, "[]", 10], sorts=False, explain="ANALYZE, COSTS OFF, BUFFERS OFF")

    looked_at = re.findall(r" on workflow_runs.* rows=([\d.]+) loops=(\d+)", found)
    assert sum(float(rows) * int(loops) for rows, loops in looked_at) < 200, found
    assert sum(map(int, re.findall(r"Rows Removed by Filter: (\d+)", found))) < 200, found


@pytest.mark.usefixtures("full")
def test_runs_in_one_state_are_listed_by_index(backend: PostgresBackend) -> None:
    asked: list[tuple[str, Any]] = []
    with seen(backend.engine, asked):
        backend.reader.list_runs(RunFilter(status=("running",), limit=10))
    begun, _, (statement, parameters), ended = asked  # all of one moment
    assert (begun[0].split()[0], ended[0]) == ("BEGIN", "ROLLBACK")

    found = backend.read(lambda c: c.exec_driver_sql(f"EXPLAIN (COSTS OFF) {statement}", parameters).scalars().all())

    assert "Scan Backward using ix_workflow_runs_list" in "\n".join(found)
    assert "Sort" not in "\n".join(found)


PAGES = (
    RunQuery("workflows.run", "default"),
    RunQuery("workflows.run", "default", owner="ann", workflow_id=7),
    RunQuery("workflows.run", "default", owner="ann", order_by="started_at"),
    RunQuery("workflows.run", "default", owner="ann", order_by="ended_at", descending=False, workflow_id=7),
    RunQuery("workflows.run", "default", created_after="2026-01-01T00:00:00Z", after=("2026-01-02T00:00:00Z", "r")),
    RunQuery("workflows.run", "default", owner="ann", waiting_on="signal:x"),
    RunQuery("workflows.run", "default", owner="ann", statuses=("failed", "cancelled")),
)
SORTS = re.compile(r"(^|-> +)(Incremental )?Sort$|Seq Scan|Bitmap|Hash", re.MULTILINE)
"""What takes longer the more runs there are."""


def test_a_page_keeps_a_plan_by_index_from_the_first_row_on(backend: PostgresBackend, admin: Admin) -> None:
    """Its plan takes longer to make than to carry out, and nobody is there to make another when there are more."""

    def look(connection: sa.Connection) -> list[tuple[str, int, int]]:
        for _ in range(8):  # the driver lets the server keep a statement when it has come some times
            for query in PAGES:
                list_page(connection, query)
        with one_moment(connection):
            kept = "SELECT name, cardinality(parameter_types), custom_plans FROM pg_prepared_statements"
            found = connection.exec_driver_sql(f"{kept} WHERE statement LIKE '%%AS at%%workflow_runs%%'").all()
            return [
                ("\n".join(connection.exec_driver_sql(_explained(name, many)).scalars()), many, custom)
                for name, many, custom in found
            ]

    for statement in ("ANALYZE", RUNS, "ANALYZE"):
        admin.execute(statement.encode())
        found = backend.read(look)
        assert len(found) == len(PAGES)
        assert {custom for _, _, custom in found} == {0}
        assert [plan for plan, _, _ in found if SORTS.search(plan)] == []


def _explained(name: str, many: int) -> str:
    given = f"({', '.join(['NULL'] * many)})" if many else ""
    return f"EXPLAIN (COSTS OFF) EXECUTE {name}{given}"


@contextmanager
def seen(engine: sa.Engine, asked: list[tuple[str, Any]]) -> Iterator[None]:
    """Keep the statements that are executed meanwhile, with their parameters."""

    def keep(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        asked.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", keep)
    yield
    sa.event.remove(engine, "before_cursor_execute", keep)
