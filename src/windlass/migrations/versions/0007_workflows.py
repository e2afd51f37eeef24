"""Definitions of workflows, a row for each version.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def name() -> sa.types.TypeEngine[Any]:
    """Text compared byte by byte."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def time() -> sa.types.TypeEngine[Any]:
    """A moment: ISO 8601 text on SQLite."""
    return sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "workflows",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tenant_id", name(), nullable=False),
        sa.Column("name", name(), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("owner_id", name(), nullable=False),
        sa.Column("visibility", name(), nullable=False, server_default="private"),
        sa.Column("description", sa.Text),
        sa.Column("tags", sa.Text, nullable=False, server_default="[]"),
        sa.Column("definition_json", sa.Text, nullable=False),
        sa.Column("created_at", time(), nullable=False),
        sa.Column("updated_at", time(), nullable=False),
        sa.Column("is_active", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("is_current", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("promotion", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_workflows"),
        sa.UniqueConstraint("tenant_id", "name", "version", name="uq_workflows_tenant_id_name_version"),
        comment="definitions as they were given, a row for each version; promotion counts which became current when",
    )
    op.create_index("ix_workflows_owner_id", "workflows", ["tenant_id", "owner_id", "name", "version"])
    current = sa.text("is_current")
    op.create_index(
        "ix_workflows_current",
        "workflows",
        ["tenant_id", "owner_id", "name"],
        unique=True,
        postgresql_where=current,
        sqlite_where=current,
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("workflows")
