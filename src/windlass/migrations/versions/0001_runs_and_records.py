"""Runs with their journal, and records with their counts.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "workflow_runs", "workflow_events", "workflow_inbox", "workflow_idempotency", "workflow_leases",
    "workflow_queues", "workflow_queue_slots", "workflow_commits", "records", "record_deltas", "record_rollups",
    "record_requests",
)  # fmt: skip

SQLITE_TRIGGERS = (
    """CREATE TRIGGER workflow_events_of_open_runs_stay BEFORE DELETE ON workflow_events
    WHEN EXISTS (SELECT 1 FROM workflow_runs WHERE run_id = OLD.run_id
        AND status NOT IN ('succeeded', 'failed', 'cancelled'))
    BEGIN SELECT RAISE(IGNORE); END""",
    """CREATE TRIGGER workflow_runs_know_where_their_history_begins AFTER DELETE ON workflow_events
    BEGIN
        UPDATE workflow_runs SET history_from_seq = OLD.event_seq + 1
        WHERE run_id = OLD.run_id AND history_from_seq <= OLD.event_seq;
    END""",
    """CREATE TRIGGER workflow_runs_take_their_rows_along AFTER DELETE ON workflow_runs
    BEGIN
        DELETE FROM workflow_events WHERE run_id = OLD.run_id;
        DELETE FROM workflow_inbox WHERE run_id = OLD.run_id;
    END""",
)
POSTGRES_TRIGGERS = (
    """CREATE FUNCTION workflow_events_of_open_runs_stay() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM 1 FROM workflow_runs WHERE run_id = OLD.run_id AND status IN ('succeeded', 'failed', 'cancelled')
        FOR NO KEY UPDATE;
        IF FOUND THEN RETURN OLD; END IF;
        PERFORM 1 FROM workflow_runs WHERE run_id = OLD.run_id;
        IF FOUND THEN RETURN NULL; END IF;
        RETURN OLD;
    END $$""",
    """CREATE TRIGGER workflow_events_of_open_runs_stay BEFORE DELETE ON workflow_events
    FOR EACH ROW EXECUTE FUNCTION workflow_events_of_open_runs_stay()""",
    """CREATE FUNCTION workflow_runs_know_where_their_history_begins() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE workflow_runs r SET history_from_seq = g.last + 1
        FROM (SELECT run_id, max(event_seq) AS last FROM gone GROUP BY run_id) g
        WHERE r.run_id = g.run_id AND r.history_from_seq <= g.last;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER workflow_runs_know_where_their_history_begins AFTER DELETE ON workflow_events
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION workflow_runs_know_where_their_history_begins()""",
    """CREATE FUNCTION workflow_runs_take_their_rows_along() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM workflow_events WHERE run_id IN (SELECT run_id FROM gone);
        DELETE FROM workflow_inbox WHERE run_id IN (SELECT run_id FROM gone);
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER workflow_runs_take_their_rows_along AFTER DELETE ON workflow_runs
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION workflow_runs_take_their_rows_along()""",
)
POSTGRES_FUNCTIONS = (
    "workflow_events_of_open_runs_stay", "workflow_runs_know_where_their_history_begins",
    "workflow_runs_take_their_rows_along",
)  # fmt: skip


def name() -> sa.types.TypeEngine[Any]:
    """Text compared byte by byte."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def time() -> sa.types.TypeEngine[Any]:
    """A moment: ISO 8601 text on SQLite."""
    return sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")


def json() -> sa.types.TypeEngine[Any]:
    """A JSON document: text on SQLite."""
    return sa.Text().with_variant(JSONB(), "postgresql")


def partial(index: str, table: str, columns: list[str], where: str) -> None:
    """Create an index over the rows that ``where`` selects."""
    op.create_index(index, table, columns, postgresql_where=sa.text(where), sqlite_where=sa.text(where))


def runs() -> None:
    """Create the index over the journal, and the journal."""
    op.create_table(
        "workflow_runs",
        sa.Column("run_id", name(), nullable=False),
        sa.Column("tenant_id", name(), nullable=False, server_default="default"),
        sa.Column("workflow_id", sa.BigInteger),
        sa.Column("name", name(), nullable=False),
        sa.Column("interface_version", name(), nullable=False, server_default="1"),
        sa.Column("status", name(), nullable=False),
        sa.Column("status_reason", sa.Text),
        sa.Column("wait_reason", sa.Text),
        sa.Column("user_id", name()),
        sa.Column("queue", name(), nullable=False, server_default="default"),
        sa.Column("key", name()),
        sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
        sa.Column("claim_rank", sa.SmallInteger, nullable=False, server_default="1"),
        sa.Column("ready_at", sa.BigInteger),
        sa.Column("wake_at", sa.BigInteger),
        sa.Column("holder", name()),
        sa.Column("deaths", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("last_seq", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("history_from_seq", sa.BigInteger, nullable=False, server_default="1"),
        sa.Column("parent_run_id", name()),
        sa.Column("on_end", name()),
        sa.Column("attributes", json(), nullable=False, server_default="{}"),
        sa.Column("inputs_json", json(), nullable=False),
        sa.Column("outputs_json", json()),
        sa.Column("error", json()),
        sa.Column("created_at", time(), nullable=False),
        sa.Column("started_at", time()),
        sa.Column("ended_at", time()),
        sa.PrimaryKeyConstraint("run_id", name="pk_workflow_runs"),
        postgresql_with={"fillfactor": "80"},
        sqlite_with_rowid=False,
    )
    ready = "holder IS NULL AND ready_at IS NOT NULL"
    partial("ix_workflow_runs_ready", "workflow_runs", ["queue", "priority", "claim_rank", "ready_at"], ready)
    partial("ix_workflow_runs_wake", "workflow_runs", ["wake_at"], "wake_at IS NOT NULL")
    partial("ix_workflow_runs_holder", "workflow_runs", ["holder"], "holder IS NOT NULL")
    partial("ix_workflow_runs_parent", "workflow_runs", ["parent_run_id"], "parent_run_id IS NOT NULL")
    op.create_index("ix_workflow_runs_list", "workflow_runs", ["status", "created_at", "run_id"])
    of_definition = "name = 'workflows.run'"
    for index, column in (("owner", "user_id"), ("definition", "workflow_id")):
        columns = ["tenant_id", column, "created_at", "run_id"]
        partial(f"ix_workflow_runs_{index}", "workflow_runs", columns, of_definition)
    op.create_table(
        "workflow_events",
        sa.Column("run_id", name(), nullable=False),
        sa.Column("event_seq", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("event_type", name(), nullable=False),
        sa.Column("step_id", name()),
        sa.Column("payload_json", json(), nullable=False),
        sa.Column("created_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "event_seq", name="pk_workflow_events"),
    )


def inbox_and_keys() -> None:
    """Create what others say to runs, and the idempotency keys of starts."""
    op.create_table(
        "workflow_inbox",
        sa.Column("arrival", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True),
        sa.Column("inbox_id", name(), nullable=False),
        sa.Column("run_id", name(), nullable=False),
        sa.Column("kind", name(), nullable=False),
        sa.Column("name", name(), nullable=False),
        sa.Column("dedup_id", name()),
        sa.Column("payload_json", json(), nullable=False),
        sa.Column("created_at", time(), nullable=False),
        sa.Column("consumed", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("arrival", name="pk_workflow_inbox"),
        sa.UniqueConstraint("inbox_id", name="uq_workflow_inbox_inbox_id"),
        sa.UniqueConstraint("run_id", "name", "dedup_id", name="uq_workflow_inbox_run_id_name_dedup_id"),
    )
    op.create_index("ix_workflow_inbox_run_id_arrival", "workflow_inbox", ["run_id", "arrival"])
    op.create_table(
        "workflow_idempotency",
        sa.Column("scope", name(), nullable=False),
        sa.Column("key", name(), nullable=False),
        sa.Column("run_id", name(), nullable=False),
        sa.Column("request_hash", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", name="pk_workflow_idempotency"),
    )
    op.create_index("ix_workflow_idempotency_expires_at", "workflow_idempotency", ["expires_at"])


def workers() -> None:
    """Create leases, queues with their slots, and the marks of commits."""
    op.create_table(
        "workflow_leases",
        sa.Column("holder", name(), nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("state", name(), nullable=False),
        sa.Column("workflows", sa.Text, nullable=False),
        sa.Column("started_at", time(), nullable=False),
        sa.Column("expires_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("holder", name="pk_workflow_leases"),
    )
    op.create_index("ix_workflow_leases_state", "workflow_leases", ["state"])
    op.create_table(
        "workflow_queues",
        sa.Column("queue", name(), nullable=False),
        sa.Column("concurrency_limit", sa.Integer),
        sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("queue", name="pk_workflow_queues"),
    )
    op.create_table(
        "workflow_queue_slots",
        sa.Column("queue", name(), nullable=False),
        sa.Column("slot", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("run_id", name()),
        sa.PrimaryKeyConstraint("queue", "slot", name="pk_workflow_queue_slots"),
    )
    op.create_index("ix_workflow_queue_slots_run_id", "workflow_queue_slots", ["run_id"])
    op.create_table(
        "workflow_commits",
        sa.Column("writer", name(), nullable=False),
        sa.Column("marker", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("writer", name="pk_workflow_commits"),
        comment="one row per writing connection: the last batch that reached the disk"
        " (unknown commits are settled here)",
    )


def records() -> None:
    """Create records with an index for every order they are listed in."""
    op.create_table(
        "records",
        sa.Column("id", name(), nullable=False),
        sa.Column("created_at", time(), nullable=False),
        sa.Column("status", name(), nullable=False),
        sa.Column("source", name(), nullable=False),
        sa.Column("category", name(), nullable=False),
        sa.Column("payload", json(), nullable=False),
        sa.Column("classification", sa.Text),
        sa.Column("score", sa.Double),
        sa.Column("result", json()),
        sa.Column("error", sa.Text),
        sa.Column("updated_at", time(), nullable=False),
        sa.Column("processed_at", time()),
        sa.Column("processing_ms", sa.BigInteger),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("run_id", name()),
        sa.PrimaryKeyConstraint("id", name="pk_records"),
    )
    for index, columns in {
        "created_at": [],
        "category_created_at": ["category"],
        "status_created_at": ["status"],
        "status_category": ["status", "category"],
        "status_source": ["status", "source"],
        "status_category_source": ["status", "category", "source"],
        "status_source_category": ["status", "source", "category"],
    }.items():
        op.create_index(f"ix_records_{index}", "records", [*columns, "created_at", "id"])


def reports() -> None:
    """Create the counts of records, and the answers kept for idempotency keys."""
    op.create_table(
        "record_deltas",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True),
        sa.Column("day", name(), nullable=False),
        sa.Column("status", name(), nullable=False),
        sa.Column("category", name(), nullable=False),
        sa.Column("source", name(), nullable=False),
        sa.Column("reason", name()),
        sa.Column("duration", sa.BigInteger),
        sa.Column("ended", name()),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_record_deltas"),
        comment="changes of the counts below, written with the records they count and folded in later",
    )
    op.create_table(
        "record_rollups",
        sa.Column("kind", name(), nullable=False),
        sa.Column("period", name(), nullable=False),
        sa.Column("status", name(), nullable=False),
        sa.Column("category", name(), nullable=False),
        sa.Column("value", name(), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("kind", "period", "status", "category", "value", name="pk_record_rollups"),
        sqlite_with_rowid=False,
        comment="how many records there are, by kind of question and by UTC day ('' is all time)",
    )
    op.create_table(
        "record_requests",
        sa.Column("scope", name(), nullable=False),
        sa.Column("key", name(), nullable=False),
        sa.Column("part", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("request_hash", sa.Text, nullable=False),
        sa.Column("answer", json(), nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", "part", name="pk_record_requests"),
        sqlite_with_rowid=False,
        comment="what was answered to requests with an Idempotency-Key; a bulk request has one row for each chunk",
    )
    op.create_index("ix_record_requests_expires_at", "record_requests", ["expires_at"])


def upgrade() -> None:
    """Create everything."""
    runs()
    inbox_and_keys()
    workers()
    records()
    reports()
    postgres = op.get_context().dialect.name == "postgresql"
    if postgres:
        op.create_index(
            "ix_workflow_events_payload",
            "workflow_events",
            ["payload_json"],
            postgresql_using="gin",
            postgresql_ops={"payload_json": "jsonb_path_ops"},
        )
    for statement in POSTGRES_TRIGGERS if postgres else SQLITE_TRIGGERS:
        op.execute(statement)


def downgrade() -> None:
    """Drop everything."""
    for table in reversed(TABLES):
        op.drop_table(table)
    if op.get_context().dialect.name == "postgresql":
        for function in POSTGRES_FUNCTIONS:
            op.execute(f"DROP FUNCTION {function}()")
