"""What was used of quotas and rates, limits that are other than the settings', and an index that counts what waits.

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

WAITING = sa.text("holder IS NULL AND ready_at IS NOT NULL AND name = 'workflows.run'")


def name() -> sa.types.TypeEngine[Any]:
    """Return the type of an id or name: compared byte by byte on both databases."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def timestamp() -> sa.types.TypeEngine[Any]:
    """Return the type of a time people read."""
    return sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "workflow_usage",
        sa.Column("tenant_id", name(), nullable=False),
        sa.Column("user_id", name(), nullable=False),
        sa.Column("limit_name", name(), nullable=False),
        sa.Column("window_start", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("used", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", "limit_name", "window_start", name="pk_workflow_usage"),
        sqlite_with_rowid=False,
        comment="how much of a limit was used in a window (seconds since 1970); written with what it counts",
    )
    op.create_index("ix_workflow_usage_expires_at", "workflow_usage", ["expires_at"])
    op.create_table(
        "workflow_limits",
        sa.Column("tenant_id", name(), nullable=False),
        sa.Column("user_id", name(), nullable=False),
        sa.Column("limit_name", name(), nullable=False),
        sa.Column("value", sa.BigInteger),
        sa.Column("updated_at", timestamp(), nullable=False),
        sa.Column("updated_by", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", "limit_name", name="pk_workflow_limits"),
        sqlite_with_rowid=False,
        comment="limits other than the settings'; * is every user or every tenant, no value is no limit",
    )
    op.create_index(
        "ix_workflow_runs_waiting", "workflow_runs", ["tenant_id", "ready_at", "holder", "name"],
        postgresql_where=WAITING, sqlite_where=WAITING,
    )  # fmt: skip


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_workflow_runs_waiting", "workflow_runs")
    op.drop_table("workflow_limits")
    op.drop_table("workflow_usage")
