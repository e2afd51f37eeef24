"""Webhooks: every attempt to deliver one, and those that were given up.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SQLITE_TRIGGER = """CREATE TRIGGER workflow_runs_take_their_deliveries_along AFTER DELETE ON workflow_runs
    BEGIN
        DELETE FROM workflow_webhook_deliveries WHERE run_id = OLD.run_id;
    END"""
POSTGRES_TRIGGER = (
    """CREATE FUNCTION workflow_runs_take_their_deliveries_along() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM workflow_webhook_deliveries WHERE run_id IN (SELECT run_id FROM gone);
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER workflow_runs_take_their_deliveries_along AFTER DELETE ON workflow_runs
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION workflow_runs_take_their_deliveries_along()""",
)


def name() -> sa.types.TypeEngine[Any]:
    """Text compared byte by byte."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def time() -> sa.types.TypeEngine[Any]:
    """A moment: ISO 8601 text on SQLite."""
    return sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")


def number() -> sa.types.TypeEngine[Any]:
    """A number that counts up by itself."""
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def deliveries() -> None:
    """Create the history."""
    op.create_table(
        "workflow_webhook_deliveries",
        sa.Column("id", number(), nullable=False),
        sa.Column("tenant_id", name(), nullable=False),
        sa.Column("run_id", name()),
        sa.Column("webhook_id", name(), nullable=False),
        sa.Column("event_seq", sa.BigInteger),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("status", name(), nullable=False),
        sa.Column("code", sa.Integer),
        sa.Column("reason", name()),
        sa.Column("source", name()),
        sa.Column("created_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workflow_webhook_deliveries"),
        comment="one row for each attempt; those of a run go with it",
    )
    op.create_index("ix_workflow_webhook_deliveries_run_id", "workflow_webhook_deliveries", ["run_id", "id"])


def letters() -> None:
    """Create the dead letters."""
    op.create_table(
        "workflow_webhook_dlq",
        sa.Column("id", number(), nullable=False),
        sa.Column("tenant_id", name(), nullable=False),
        sa.Column("run_id", name()),
        sa.Column("webhook_id", name(), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("host", name(), nullable=False),
        sa.Column("headers_json", sa.Text, nullable=False),
        sa.Column("scheme", name(), nullable=False),
        sa.Column("body_json", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", time()),
        sa.Column("reason", name(), nullable=False),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.Column("busy_run_id", name()),
        sa.Column("created_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workflow_webhook_dlq"),
        comment="webhooks that were given up, with what was to be sent, byte for byte; busy_run_id is sending one"
        " again",
    )
    for column in ("tenant_id", "host", "reason", "created_at"):
        op.create_index(f"ix_workflow_webhook_dlq_{column}", "workflow_webhook_dlq", [column, "id"])
    op.create_index("ix_workflow_webhook_dlq_next_attempt_at", "workflow_webhook_dlq", ["next_attempt_at"])


def upgrade() -> None:
    """Create both tables, and what keeps the history no longer than its runs."""
    deliveries()
    letters()
    postgres = op.get_context().dialect.name == "postgresql"
    for statement in POSTGRES_TRIGGER if postgres else (SQLITE_TRIGGER,):
        op.execute(statement)


def downgrade() -> None:
    """Drop everything."""
    op.execute(
        "DROP TRIGGER workflow_runs_take_their_deliveries_along"
        + (" ON workflow_runs" if op.get_context().dialect.name == "postgresql" else "")
    )
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION workflow_runs_take_their_deliveries_along()")
    op.drop_table("workflow_webhook_dlq")
    op.drop_table("workflow_webhook_deliveries")
