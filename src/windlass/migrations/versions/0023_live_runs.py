"""What runs write to streams and publish, and the updates and queries that they are sent.

Revision ID: 0023
Revises: 0022
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

TABLES = ("workflow_stream_items", "workflow_published", "workflow_requests")
TRIGGER = "workflow_runs_take_what_they_told_along"
SQLITE_TRIGGERS = (
    """CREATE TRIGGER workflow_runs_take_what_they_told_along AFTER DELETE ON workflow_runs
    BEGIN
        DELETE FROM workflow_stream_items WHERE run_id = OLD.run_id;
        DELETE FROM workflow_published WHERE run_id = OLD.run_id;
        DELETE FROM workflow_requests WHERE run_id = OLD.run_id;
    END""",
)
POSTGRES_TRIGGERS = (
    """CREATE FUNCTION workflow_runs_take_what_they_told_along() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM workflow_stream_items WHERE run_id IN (SELECT run_id FROM gone);
        DELETE FROM workflow_published WHERE run_id IN (SELECT run_id FROM gone);
        DELETE FROM workflow_requests WHERE run_id IN (SELECT run_id FROM gone);
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER workflow_runs_take_what_they_told_along AFTER DELETE ON workflow_runs
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION workflow_runs_take_what_they_told_along()""",
)


def name() -> sa.types.TypeEngine[Any]:
    """Text compared byte by byte."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def time() -> sa.types.TypeEngine[Any]:
    """A moment: ISO 8601 text on SQLite."""
    return sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")


def json() -> sa.types.TypeEngine[Any]:
    """A JSON document: text on SQLite."""
    return sa.Text().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """Create the tables; a run takes its rows along when it is deleted."""
    op.create_table(
        "workflow_stream_items",
        sa.Column("run_id", name(), nullable=False),
        sa.Column("stream", name(), nullable=False),
        sa.Column("item_offset", sa.BigInteger, nullable=False),
        sa.Column("item_json", json()),
        sa.Column("step_id", name()),
        sa.Column("attempt", sa.Integer),
        sa.Column("created_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "stream", "item_offset", name="pk_workflow_stream_items"),
        comment="what runs write to their streams; the row without an item is a stream's end",
    )
    op.create_table(
        "workflow_published",
        sa.Column("run_id", name(), nullable=False),
        sa.Column("key", name(), nullable=False),
        sa.Column("value_json", json(), nullable=False),
        sa.Column("updated_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "key", name="pk_workflow_published"),
        comment="the newest value of each key that a run has published",
    )
    op.create_table(
        "workflow_requests",
        sa.Column("run_id", name(), nullable=False),
        sa.Column("request_id", name(), nullable=False),
        sa.Column("kind", name(), nullable=False),
        sa.Column("name", name(), nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("state", name(), nullable=False),
        sa.Column("answer_json", json()),
        sa.Column("created_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "request_id", name="pk_workflow_requests"),
        comment="updates of runs and queries, and what was answered; a query goes with its answer",
    )
    postgres = op.get_context().dialect.name == "postgresql"
    for statement in POSTGRES_TRIGGERS if postgres else SQLITE_TRIGGERS:
        op.execute(statement)


def downgrade() -> None:
    """Drop everything."""
    postgres = op.get_context().dialect.name == "postgresql"
    op.execute(f"DROP TRIGGER {TRIGGER} ON workflow_runs" if postgres else f"DROP TRIGGER {TRIGGER}")
    if postgres:
        op.execute(f"DROP FUNCTION {TRIGGER}()")
    for table in reversed(TABLES):
        op.drop_table(table)
