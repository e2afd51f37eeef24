"""Artifacts of runs, and where their contents are.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = ("workflow_artifacts", "workflow_artifact_objects", "workflow_artifact_uploads")
TRIGGER = "workflow_runs_take_their_artifacts_along"
SQLITE_TRIGGERS = (
    """CREATE TRIGGER workflow_runs_take_their_artifacts_along AFTER DELETE ON workflow_runs
    BEGIN DELETE FROM workflow_artifacts WHERE run_id = OLD.run_id; END""",
)
POSTGRES_TRIGGERS = (
    """CREATE FUNCTION workflow_runs_take_their_artifacts_along() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM workflow_artifacts WHERE run_id IN (SELECT run_id FROM gone);
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER workflow_runs_take_their_artifacts_along AFTER DELETE ON workflow_runs
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION workflow_runs_take_their_artifacts_along()""",
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
    """Create the tables; a run takes its artifacts along when it is deleted."""
    op.create_table(
        "workflow_artifacts",
        sa.Column("artifact_id", name(), nullable=False),
        sa.Column("tenant_id", name(), nullable=False, server_default="default"),
        sa.Column("run_id", name(), nullable=False),
        sa.Column("step_run_id", name()),
        sa.Column("type", name(), nullable=False),
        sa.Column("uri", name(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger),
        sa.Column("mime_type", sa.Text),
        sa.Column("checksum_sha256", name()),
        sa.Column("encryption", sa.Text),
        sa.Column("owned_by", name()),
        sa.Column("metadata_json", json(), nullable=False, server_default="{}"),
        sa.Column("created_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("artifact_id", name="pk_workflow_artifacts"),
    )
    op.create_index("ix_workflow_artifacts_run_id", "workflow_artifacts", ["run_id", "created_at", "artifact_id"])
    op.create_index("ix_workflow_artifacts_created_at", "workflow_artifacts", ["created_at", "artifact_id"])
    op.create_index("ix_workflow_artifacts_uri", "workflow_artifacts", ["uri"])
    op.create_table(
        "workflow_artifact_objects",
        sa.Column("checksum_sha256", name(), nullable=False),
        sa.Column("object_key", name(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("created_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("checksum_sha256", name="pk_workflow_artifact_objects"),
        comment="where a content is kept; removed with the last artifact that has it",
    )
    op.create_table(
        "workflow_artifact_uploads",
        sa.Column("object_key", name(), nullable=False),
        sa.Column("created_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("object_key", name="pk_workflow_artifact_uploads"),
        comment="objects on their way: whole on disk, not named by any artifact yet",
    )
    postgres = op.get_context().dialect.name == "postgresql"
    for statement in POSTGRES_TRIGGERS if postgres else SQLITE_TRIGGERS:
        op.execute(statement)


def downgrade() -> None:
    """Drop everything; the files stay."""
    postgres = op.get_context().dialect.name == "postgresql"
    op.execute(f"DROP TRIGGER {TRIGGER} ON workflow_runs" if postgres else f"DROP TRIGGER {TRIGGER}")
    if postgres:
        op.execute(f"DROP FUNCTION {TRIGGER}()")
    for table in reversed(TABLES):
        op.drop_table(table)
