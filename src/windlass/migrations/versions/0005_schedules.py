"""Schedules and what became of their slots.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def name() -> sa.types.TypeEngine[Any]:
    """Return the type of an id or name."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def json() -> sa.types.TypeEngine[Any]:
    """Return the type of a JSON document."""
    return sa.Text().with_variant(JSONB(), "postgresql")


def timestamp() -> sa.types.TypeEngine[Any]:
    """Return the type of a time people read."""
    return sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Create both tables."""
    schedules()
    fires()


def schedules() -> None:
    """Create the schedules."""
    op.create_table(
        "workflow_schedules",
        sa.Column("id", name(), nullable=False),
        sa.Column("tenant_id", name(), nullable=False),
        sa.Column("user_id", name(), nullable=False),
        sa.Column("workflow_id", sa.BigInteger),
        sa.Column("workflow", name()),
        sa.Column("name", sa.Text),
        sa.Column("cron", sa.Text, nullable=False),
        sa.Column("timezone", sa.Text, nullable=False),
        sa.Column("inputs_json", json(), nullable=False),
        sa.Column("run_mode", name(), nullable=False),
        sa.Column("validation_mode", name(), nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("require_online", sa.Boolean, nullable=False),
        sa.Column("concurrency_mode", name(), nullable=False),
        sa.Column("misfire_grace_sec", sa.Integer, nullable=False),
        sa.Column("coalesce", sa.Boolean, nullable=False),
        sa.Column("jitter_sec", sa.Integer, nullable=False, server_default="0"),
        sa.Column("acp_config_json", json()),
        sa.Column("last_run_at", timestamp()),
        sa.Column("next_run_at", timestamp()),
        sa.Column("last_status", name()),
        sa.Column("created_at", timestamp(), nullable=False),
        sa.Column("updated_at", timestamp(), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("done_until", sa.BigInteger, nullable=False),
        sa.Column("tick_run_id", name()),
        sa.Column("drain_run_id", name()),
        sa.PrimaryKeyConstraint("id", name="pk_workflow_schedules"),
    )
    enabled = sa.text("enabled")
    op.create_index("ix_workflow_schedules_owner", "workflow_schedules", ["tenant_id", "user_id", "created_at", "id"])
    op.create_index("ix_workflow_schedules_tenant", "workflow_schedules", ["tenant_id", "created_at", "id"])
    op.create_index(
        "ix_workflow_schedules_next",
        "workflow_schedules",
        ["next_run_at", "id"],
        postgresql_where=enabled,
        sqlite_where=enabled,
    )


def fires() -> None:
    """Create what became of slots."""
    table = "workflow_schedule_fires"
    op.create_table(
        table,
        sa.Column("fire_id", name(), nullable=False),
        sa.Column("schedule_id", name(), nullable=False),
        sa.Column("kind", name(), nullable=False),
        sa.Column("slot", timestamp()),
        sa.Column("first_slot", timestamp()),
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("run_id", name()),
        sa.Column("status", name(), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("live", sa.Boolean, nullable=False),
        sa.Column("created_at", timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("fire_id", name="pk_workflow_schedule_fires"),
        sa.UniqueConstraint("run_id", name="uq_workflow_schedule_fires_run_id"),
        comment="what became of each slot; one that has a run of its own holds its id, so that it never gets another",
    )
    live, pending = sa.text("live"), sa.text("status = 'pending'")
    op.create_index("ix_workflow_schedule_fires_history", table, ["schedule_id", "fire_id"])
    op.create_index(
        "ix_workflow_schedule_fires_live", table, ["schedule_id", "kind"], postgresql_where=live, sqlite_where=live
    )
    op.create_index(
        "ix_workflow_schedule_fires_pending",
        table,
        ["schedule_id", "fire_id"],
        postgresql_where=pending,
        sqlite_where=pending,
    )


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("workflow_schedule_fires")
    op.drop_table("workflow_schedules")
