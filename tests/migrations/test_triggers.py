"""Deleting history by hand, as a runbook might: open runs keep theirs, a deleted run takes its rows along."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from tests.support.waiting import wait_until
from windlass.storage import urls
from windlass.storage.queries import views
from windlass.storage.schema import LIVE, workflow_runs

STATUSES = {
    "queued": 2,
    "running": 2,
    "paused": 2,
    "waiting_human": 2,
    "waiting_approval": 2,
    "succeeded": 0,
    "failed": 0,
    "cancelled": 0,
}
NOW = "2026-01-01T00:00:00.000000Z"
TOLD = (
    "INSERT INTO workflow_stream_items (run_id, stream, item_offset, created_at) VALUES (:status, 's', 0, :now)",
    "INSERT INTO workflow_published (run_id, key, value_json, updated_at) VALUES (:status, 'k', '1', :now)",
    "INSERT INTO workflow_requests VALUES (:status, 'r', 'update', 'u', '-', 'sent', NULL, :now)",
)
"""What runs have told and were asked."""


@pytest.fixture(params=["migrated_sqlite_url", "migrated_pg_dsn"])
def connection(request: pytest.FixtureRequest) -> Iterator[sa.Connection]:
    """A database with a run in every status, each with two events and a message."""
    engine = sa.create_engine(urls.parse(request.getfixturevalue(request.param)).sqlalchemy, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for status in STATUSES:
            connection.execute(
                sa.text(
                    "INSERT INTO workflow_runs (run_id, name, status, inputs_json, created_at, last_seq)"
                    " VALUES (:status, 'w', :status, '{}', :now, 2)"
                ),
                {"status": status, "now": NOW},
            )
            connection.execute(
                sa.text(
                    "INSERT INTO workflow_inbox (inbox_id, run_id, kind, name, payload_json, created_at)"
                    " VALUES (:status, :status, 'signal', 's', '{}', :now)"
                ),
                {"status": status, "now": NOW},
            )
            connection.execute(
                sa.text(
                    "INSERT INTO workflow_events (run_id, event_seq, event_type, payload_json, created_at)"
                    " VALUES (:status, :seq, 'e', '{}', :now)"
                ),
                [{"status": status, "seq": seq, "now": NOW} for seq in (1, 2)],
            )
            for statement in TOLD:
                connection.execute(sa.text(statement), {"status": status, "now": NOW})
        yield connection


def _count(connection: sa.Connection, table: str) -> dict[str, int]:
    found = {row[0]: row[1] for row in connection.execute(sa.text(
        f"SELECT run_id, count(*) FROM {table} GROUP BY run_id"
    ))}  # fmt: skip
    return {status: found.get(status, 0) for status in STATUSES}


@pytest.mark.parametrize(
    "statement", ["DELETE FROM workflow_events", "DELETE FROM workflow_events WHERE created_at <= :now"]
)
def test_events_of_open_runs_stay(connection: sa.Connection, statement: str) -> None:
    connection.execute(sa.text(statement), {"now": NOW} if ":now" in statement else {})

    assert _count(connection, "workflow_events") == STATUSES


def test_a_deleted_run_takes_all_that_is_its_own_along(connection: sa.Connection) -> None:
    connection.execute(sa.text("DELETE FROM workflow_runs WHERE run_id IN ('running', 'failed')"))

    events, messages = _count(connection, "workflow_events"), _count(connection, "workflow_inbox")
    assert (events["running"], events["failed"], events["paused"]) == (0, 0, 2)
    assert (messages["running"], messages["failed"], messages["paused"]) == (0, 0, 1)
    for table in LIVE:
        told = _count(connection, table.name)
        assert (told["running"], told["failed"], told["paused"]) == (0, 0, 1), table.name


def _begins(connection: sa.Connection) -> dict[str, int]:
    found = connection.execute(sa.select(workflow_runs)).mappings()
    return {run.run_id: run.history_from_seq for run in views(connection, found)}


def test_deleting_many_events_writes_their_run_once(migrated_sqlite_url: str) -> None:
    with sqlite3.connect(migrated_sqlite_url.removeprefix("sqlite:///")) as connection:
        connection.execute(
            "INSERT INTO workflow_runs (run_id, name, status, inputs_json, created_at, last_seq)"
            " VALUES ('r', 'w', 'failed', '{}', ?, 500)",
            (NOW,),
        )
        connection.executemany(
            "INSERT INTO workflow_events (run_id, event_seq, event_type, payload_json, created_at)"
            " VALUES ('r', ?, 'e', '{}', ?)",
            [(seq, NOW) for seq in range(1, 501)],
        )
        before = connection.total_changes
        deleted = connection.execute("DELETE FROM workflow_events WHERE event_seq <= 400").rowcount

        assert (deleted, connection.total_changes - before) == (400, 401)
    connection.close()


@pytest.mark.parametrize(
    "which,begins",
    [("event_seq = 1", 2), ("event_seq <= 2", 3), ("event_seq = 2", 3), ("event_seq > 2", 1)],
)
def test_an_ended_run_knows_from_where_its_journal_is_whole(connection: sa.Connection, which: str, begins: int) -> None:
    connection.execute(sa.text(f"DELETE FROM workflow_events WHERE {which}"))

    assert _begins(connection) == {status: 1 if STATUSES[status] else begins for status in STATUSES}


def test_a_journal_trimmed_again_begins_later_and_never_earlier(connection: sa.Connection) -> None:
    for seq in (2, 1):
        connection.execute(sa.text("DELETE FROM workflow_events WHERE event_seq = :seq"), {"seq": seq})

        assert _begins(connection)["failed"] == 3


def test_events_of_a_run_that_is_being_retried_stay(migrated_pg_dsn: str) -> None:
    with psycopg.connect(migrated_pg_dsn) as retrying, psycopg.connect(migrated_pg_dsn) as trimming:
        retrying.execute(
            "INSERT INTO workflow_runs (run_id, name, status, inputs_json, created_at, last_seq)"
            " VALUES ('r', 'w', 'failed', '{}', now(), 1)"
        )
        retrying.execute(
            "INSERT INTO workflow_events (run_id, event_seq, event_type, payload_json, created_at)"
            " VALUES ('r', 1, 'e', '{}', now())"
        )
        retrying.commit()
        retrying.execute("UPDATE workflow_runs SET status = 'queued' WHERE run_id = 'r'")
        with ThreadPoolExecutor() as threads:
            deleted = threads.submit(trimming.execute, "DELETE FROM workflow_events")
            try:
                wait_until(lambda: _waits_for_a_lock(retrying, trimming), 10, "the deletion to wait for the run")
            finally:
                retrying.commit()

        assert deleted.result().rowcount == 0
        assert trimming.execute("SELECT history_from_seq FROM workflow_runs").fetchone() == (1,)


def _waits_for_a_lock(asking: psycopg.Connection[Any], waiting: psycopg.Connection[Any]) -> bool:
    blocked = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
    return asking.execute(blocked, (waiting.info.backend_pid,)).fetchone() == (True,)
