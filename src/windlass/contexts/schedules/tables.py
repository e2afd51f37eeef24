"""The tables of schedules.

``workflow_schedules`` has the columns of the original, where ``jitter_sec`` and ``acp_config_json`` belong to services
that are not here: they keep their defaults. The columns after ``updated_at`` are the engine room's: ``done_until`` is
microseconds, and a tick of another ``revision`` does nothing.
"""

from __future__ import annotations

import sqlalchemy as sa

from windlass.storage.schema import json_text, metadata, name, timestamp

_enabled = sa.text("enabled")
_live = sa.text("live")
_pending = sa.text("status = 'pending'")

workflow_schedules = sa.Table(
    "workflow_schedules",
    metadata,
    sa.Column("id", name(), primary_key=True),
    sa.Column("tenant_id", name(), nullable=False),
    sa.Column("user_id", name(), nullable=False),
    sa.Column("workflow_id", sa.BigInteger),
    sa.Column("workflow", name()),
    sa.Column("name", sa.Text),
    sa.Column("cron", sa.Text, nullable=False),
    sa.Column("timezone", sa.Text, nullable=False),
    sa.Column("inputs_json", json_text(), nullable=False),
    sa.Column("run_mode", name(), nullable=False),
    sa.Column("validation_mode", name(), nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("require_online", sa.Boolean, nullable=False),
    sa.Column("concurrency_mode", name(), nullable=False),
    sa.Column("misfire_grace_sec", sa.Integer, nullable=False),
    sa.Column("coalesce", sa.Boolean, nullable=False),
    sa.Column("jitter_sec", sa.Integer, nullable=False, server_default="0"),
    sa.Column("acp_config_json", json_text()),
    sa.Column("last_run_at", timestamp()),
    sa.Column("next_run_at", timestamp()),
    sa.Column("last_status", name()),
    sa.Column("created_at", timestamp(), nullable=False),
    sa.Column("updated_at", timestamp(), nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("done_until", sa.BigInteger, nullable=False),
    sa.Column("tick_run_id", name()),
    sa.Column("drain_run_id", name()),
    sa.Index("ix_workflow_schedules_owner", "tenant_id", "user_id", "created_at", "id"),
    sa.Index("ix_workflow_schedules_tenant", "tenant_id", "created_at", "id"),
    sa.Index("ix_workflow_schedules_next", "next_run_at", "id", postgresql_where=_enabled, sqlite_where=_enabled),
)

workflow_schedule_fires = sa.Table(
    "workflow_schedule_fires",
    metadata,
    sa.Column("fire_id", name(), primary_key=True),
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
    sa.UniqueConstraint("run_id"),
    sa.Index("ix_workflow_schedule_fires_history", "schedule_id", "fire_id"),
    sa.Index("ix_workflow_schedule_fires_live", "schedule_id", "kind", postgresql_where=_live, sqlite_where=_live),
    sa.Index(
        "ix_workflow_schedule_fires_pending", "schedule_id", "fire_id",
        postgresql_where=_pending, sqlite_where=_pending,
    ),
    comment="what became of each slot; one that has a run of its own holds its id, so that it never gets another",
)  # fmt: skip
