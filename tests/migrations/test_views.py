"""What operators ask by the names of the contract: the version of the tables, the counters, events by their payload."""

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import sqlalchemy as sa

from windlass.storage import migrate, urls

NOW = "2026-01-01T00:00:00.000000Z"
FILTER = """SELECT run_id, event_seq FROM workflow_events WHERE payload_json @> '{"step_id": "step77"}'"""


@pytest.fixture(params=["migrated_sqlite_url", "migrated_pg_dsn"])
def url(request: pytest.FixtureRequest) -> urls.DatabaseUrl:
    """A migrated database of each kind."""
    return urls.parse(request.getfixturevalue(request.param))


@pytest.fixture
def connection(url: urls.DatabaseUrl) -> Iterator[sa.Connection]:
    """A connection to it, whose work is undone."""
    with sa.create_engine(url.sqlalchemy, poolclass=sa.NullPool).connect() as connection:
        yield connection


def ask(connection: sa.Connection, query: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in connection.execute(sa.text(query))]


def test_the_runbooks_question_for_the_version_is_answered(url: urls.DatabaseUrl, connection: sa.Connection) -> None:
    assert ask(connection, "SELECT version FROM workflow_schema_version") == [(int(migrate.newest()),)]
    connection.close()

    migrate.downgrade(url, nullcontext(), "0008")
    assert migrate.upgrade(url, nullcontext()).matches


def test_the_counters_are_those_of_the_runs(connection: sa.Connection) -> None:
    connection.execute(
        sa.text(
            "INSERT INTO workflow_runs (run_id, name, status, inputs_json, created_at, last_seq)"
            " VALUES ('r', 'w', 'running', '{}', :now, 7)"
        ),
        {"now": NOW},
    )

    assert ask(connection, "SELECT run_id, next_seq FROM workflow_event_counters") == [("r", 7)]


def test_a_filter_over_events_payloads_uses_its_index(migrated_pg_dsn: str) -> None:
    with sa.create_engine(urls.parse(migrated_pg_dsn).sqlalchemy, poolclass=sa.NullPool).begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO workflow_events (run_id, event_seq, event_type, payload_json, created_at)"
                " SELECT 'r' || n / 100, n % 100 + 1, 'step_completed',"
                " jsonb_build_object('step_id', 'step' || n), now() FROM generate_series(1, 20000) n"
            )
        )
        connection.execute(sa.text("ANALYZE workflow_events"))
        plan = "\n".join(str(row[0]) for row in ask(connection, f"EXPLAIN {FILTER}"))
        found = ask(connection, FILTER)

    assert "Bitmap Index Scan on ix_workflow_events_payload" in plan, plan
    assert found == [("r0", 78)]


def test_the_payload_of_events_is_jsonb_under_a_gin_index(migrated_pg_dsn: str) -> None:
    with sa.create_engine(urls.parse(migrated_pg_dsn).sqlalchemy, poolclass=sa.NullPool).connect() as connection:
        kind = ask(
            connection,
            "SELECT data_type FROM information_schema.columns"
            " WHERE table_name = 'workflow_events' AND column_name = 'payload_json'",
        )
        index = ask(connection, "SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_workflow_events_payload'")

    assert kind == [("jsonb",)]
    assert "USING gin (payload_json jsonb_path_ops)" in str(index[0][0])
