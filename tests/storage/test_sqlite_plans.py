"""What a claim reads of a SQLite file: the runs it takes, whatever else waits."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from windlass.kernel.lanes import LaneRules
from windlass.storage.lanes import asking
from windlass.storage.sqlite.claims import claim, ready
from windlass.storage.sqlite.lanes import claim_lanes, first_of
from windlass.storage.urls import parse
from windlass.storage.waiting import WAITING_QUEUES

RUNS = """INSERT INTO workflow_runs (run_id, name, status, queue, priority, ready_at, inputs_json, created_at)
 WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < :many)
 SELECT :queue || n, 'w', 'queued', :queue, :priority, n, '{}', '2026' FROM n"""


@pytest.fixture
def raw(migrated_sqlite_url: str) -> Iterator[sqlite3.Connection]:
    """A connection to an empty file."""
    raw = sqlite3.connect(Path(str(parse(migrated_sqlite_url).sqlalchemy.database)), isolation_level=None)
    yield raw
    raw.close()


def fill(raw: sqlite3.Connection, queue: str, many: int, priority: int = 0) -> None:
    raw.execute(RUNS, {"queue": queue, "many": many, "priority": priority})


def work(raw: sqlite3.Connection) -> int:
    """Return how many hundreds of instructions a claim takes, and take it back."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    raw.execute("BEGIN")
    raw.set_progress_handler(count, 100)
    claimed = claim(raw, "h", ["w"], None, 5)
    raw.set_progress_handler(None, 0)
    raw.execute("ROLLBACK")
    assert len(claimed) == 5
    return steps


@pytest.mark.parametrize("many", [1, 3, 32])
def test_queues_are_merged_by_index(raw: sqlite3.Connection, many: int) -> None:
    plan = [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {ready(many)}", ["[]", 1, *"q" * many])]

    assert plan.count("SEARCH workflow_runs USING INDEX ix_workflow_runs_ready (queue=?)") == many
    assert not [line for line in plan if "TEMP B-TREE" in line]


def test_waiting_queues_are_found_by_index(raw: sqlite3.Connection) -> None:
    plan = [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {WAITING_QUEUES}")]

    scans = [line for line in plan if "workflow_runs" in line]
    assert scans[-1].startswith("SEARCH workflow_runs USING")
    assert all("ix_workflow_runs_ready" in line for line in scans)
    assert not [line for line in plan if "TEMP B-TREE" in line]


@pytest.mark.parametrize("opened", [["a"], ["a", "z"]])
def test_a_claim_does_not_look_at_runs_of_closed_queues(raw: sqlite3.Connection, opened: list[str]) -> None:
    raw.execute("INSERT INTO workflow_queues (queue, concurrency_limit, paused) VALUES ('p', NULL, 1), ('f', 1, 0)")
    raw.execute("INSERT INTO workflow_queue_slots (queue, slot, run_id) VALUES ('f', 1, 'somebody')")
    for queue in opened:
        fill(raw, queue, 10)
    for queue in ("p", "f"):
        fill(raw, queue, 1, priority=-1)
    few = work(raw)

    for queue in ("p", "f"):
        raw.execute("DELETE FROM workflow_runs WHERE queue = ?", (queue,))
        fill(raw, queue, 5000, priority=-1)

    assert work(raw) < 2 * few


LANED = """INSERT INTO workflow_runs (run_id, name, status, lane, ready_at, inputs_json, created_at)
 WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < :many)
 SELECT :tenant || n, 'w', 'queued', :tenant || '/' || (n % :lanes) || '//', n, '{}', '2026' FROM n"""


def lanes(raw: sqlite3.Connection, tenant: str, many: int, lanes: int) -> None:
    raw.execute(LANED, {"tenant": tenant, "many": many, "lanes": lanes})


def test_lanes_are_found_by_index(raw: sqlite3.Connection) -> None:
    for sql, given in (
        (asking.tenants_query(asking.SQLITE, "?1", "?2"), ("", 2)),
        (asking.lanes_query(asking.SQLITE, "?1", "?2"), ("[]", 1)),
        (first_of(8), ("a", 1) * 8),
    ):
        plan = [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {sql}", given)]
        reads = [line for line in plan if "workflow_runs" in line or line.startswith(("SEARCH r ", "SCAN r "))]
        assert len(reads) >= 2
        assert all("USING" in line and "ix_workflow_runs_lanes" in line for line in reads), plan


def test_a_claim_of_lanes_costs_the_same_whatever_waits(raw: sqlite3.Connection) -> None:
    """A tenant at its limit with 100,000 runs, and the runs behind the first of those that are taken."""
    statements: list[str] = []

    def cost() -> int:
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        statements.clear()
        raw.execute("BEGIN")
        raw.set_progress_handler(count, 100)
        raw.set_trace_callback(statements.append)
        claimed = claim_lanes(raw, "h", ["w"], None, 10, LaneRules(), "").runs
        raw.set_trace_callback(None)
        raw.set_progress_handler(None, 0)
        raw.execute("ROLLBACK")
        assert [run.head.lane for run in claimed] == ["beta/0//", "gamma/0//", "beta/1//", "gamma/1//"]
        return steps

    raw.execute("INSERT INTO workflow_seats VALUES ('acme', 'one'), ('acme', 'two')")
    for tenant in ("acme", "beta", "gamma"):
        lanes(raw, tenant, 10, 10)
    few, asked = cost(), len(statements)

    for tenant in ("acme", "beta", "gamma"):
        raw.execute("DELETE FROM workflow_runs WHERE lane LIKE ? || '/%'", (tenant,))
        lanes(raw, tenant, 100_000 if tenant == "acme" else 3000, 10)

    assert cost() < 2 * few
    assert len(statements) == asked <= 10


def test_a_run_is_found_without_reading_others_of_any_size(raw: sqlite3.Connection) -> None:
    for statement in ("SELECT holder FROM workflow_runs", "UPDATE workflow_runs SET last_seq = 1"):
        plan = [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {statement} WHERE run_id = 'r'")]

        # as PRIMARY KEY of a table without row ids it would compare whole rows
        assert plan == ["SEARCH workflow_runs USING INDEX sqlite_autoindex_workflow_runs_1 (run_id=?)"]
