"""Deleting history by hand, as a runbook might: open runs keep theirs, a deleted run takes its rows along."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from windlass.storage import urls

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


@pytest.fixture(params=["migrated_sqlite_url", "migrated_pg_dsn"])
def connection(request: pytest.FixtureRequest) -> Iterator[sa.Connection]:
    """A database with a run in every status, each with two events and a message."""
    engine = sa.create_engine(urls.parse(request.getfixturevalue(request.param)).sqlalchemy, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for status in STATUSES:
            connection.execute(
                sa.text(
                    "INSERT INTO workflow_runs (run_id, name, status, inputs_json, created_at)"
                    " VALUES (:status, 'w', :status, '{}', :now)"
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


def test_a_deleted_run_takes_its_events_and_messages_along(connection: sa.Connection) -> None:
    connection.execute(sa.text("DELETE FROM workflow_runs WHERE run_id IN ('running', 'failed')"))

    events, messages = _count(connection, "workflow_events"), _count(connection, "workflow_inbox")
    assert (events["running"], events["failed"], events["paused"]) == (0, 0, 2)
    assert (messages["running"], messages["failed"], messages["paused"]) == (0, 0, 1)
