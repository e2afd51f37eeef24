"""The table of kept results."""

from __future__ import annotations

import sqlalchemy as sa

from windlass.storage.schema import metadata, name

results = sa.Table(
    "workflow_cached_results",
    metadata,
    sa.Column("tenant_id", name(), primary_key=True),
    sa.Column("cache_key", name(), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    sa.Index("ix_workflow_cached_results_tenant_id", "tenant_id", "expires_at"),
    comment="values that cache_result steps keep for later runs of a tenant, as JSON, until their time is up",
)
