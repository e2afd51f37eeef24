"""Definitions as runs were started with them, and the sealed secrets of runs.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def name() -> sa.types.TypeEngine[Any]:
    """Return the type of an id or name: compared byte by byte on both databases."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "workflow_snapshots",
        sa.Column("digest", name(), nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_workflow_snapshots"),
        comment="definitions as runs were started with them, by the hash of their JSON",
    )
    op.create_table(
        "workflow_run_secrets",
        sa.Column("run_id", name(), nullable=False),
        sa.Column("sealed", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_workflow_run_secrets"),
        comment="secrets of runs, sealed under WORKFLOWS_SECRETS_KEY; gone when their time is up or the run has ended",
    )
    op.create_index("ix_workflow_run_secrets_expires_at", "workflow_run_secrets", ["expires_at"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("workflow_run_secrets")
    op.drop_table("workflow_snapshots")
