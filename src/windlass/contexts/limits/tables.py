"""What has been used in each window, and the limits that are other than the settings say."""

from __future__ import annotations

import sqlalchemy as sa

from windlass.storage.schema import metadata, name, timestamp

workflow_usage = sa.Table(
    "workflow_usage",
    metadata,
    sa.Column("tenant_id", name(), primary_key=True),
    sa.Column("user_id", name(), primary_key=True),
    sa.Column("limit_name", name(), primary_key=True),
    sa.Column("window_start", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("used", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
    comment="how much of a limit was used in a window (seconds since 1970); written with what it counts",
)

workflow_limits = sa.Table(
    "workflow_limits",
    metadata,
    sa.Column("tenant_id", name(), primary_key=True),
    sa.Column("user_id", name(), primary_key=True),
    sa.Column("limit_name", name(), primary_key=True),
    sa.Column("value", sa.BigInteger),
    sa.Column("updated_at", timestamp(), nullable=False),
    sa.Column("updated_by", sa.Text, nullable=False),
    sqlite_with_rowid=False,
    comment="limits other than the settings'; * is every user or every tenant, no value is no limit",
)
