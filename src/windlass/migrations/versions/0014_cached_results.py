"""Results that steps keep for later runs of their tenant.

Revision ID: 0014
Revises: 0013
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def name() -> sa.types.TypeEngine[Any]:
    """Return the type of an id or name: compared byte by byte on both databases."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "workflow_cached_results",
        sa.Column("tenant_id", name(), nullable=False),
        sa.Column("cache_key", name(), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "cache_key", name="pk_workflow_cached_results"),
        comment="values that cache_result steps keep for later runs of a tenant, as JSON, until their time is up",
    )
    op.create_index("ix_workflow_cached_results_expires_at", "workflow_cached_results", ["expires_at"])
    op.create_index("ix_workflow_cached_results_tenant_id", "workflow_cached_results", ["tenant_id", "expires_at"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("workflow_cached_results")
