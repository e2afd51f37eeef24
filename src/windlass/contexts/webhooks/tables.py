"""The tables of webhooks: what was tried, and what nobody tries any more."""

from __future__ import annotations

import sqlalchemy as sa

from windlass.storage.schema import metadata, name, timestamp

workflow_webhook_deliveries = sa.Table(
    "workflow_webhook_deliveries",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
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
    sa.Column("created_at", timestamp(), nullable=False),
    sa.Index("ix_workflow_webhook_deliveries_run_id", "run_id", "id"),
    comment="one row for each attempt; those of a run go with it",
)

workflow_webhook_dlq = sa.Table(
    "workflow_webhook_dlq",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("tenant_id", name(), nullable=False),
    sa.Column("run_id", name()),
    sa.Column("webhook_id", name(), nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("host", name(), nullable=False),
    sa.Column("headers_json", sa.Text, nullable=False),
    sa.Column("scheme", name(), nullable=False),
    sa.Column("body_json", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_attempt_at", timestamp()),
    sa.Column("reason", name(), nullable=False),
    sa.Column("last_error", sa.Text, nullable=False),
    sa.Column("busy_run_id", name()),
    sa.Column("created_at", timestamp(), nullable=False),
    sa.Index("ix_workflow_webhook_dlq_tenant_id", "tenant_id", "id"),
    sa.Index("ix_workflow_webhook_dlq_host", "host", "id"),
    sa.Index("ix_workflow_webhook_dlq_reason", "reason", "id"),
    sa.Index("ix_workflow_webhook_dlq_created_at", "created_at", "id"),
    sa.Index("ix_workflow_webhook_dlq_next_attempt_at", "next_attempt_at"),
    comment="webhooks that were given up, with what was to be sent, byte for byte; busy_run_id is sending one again",
)
