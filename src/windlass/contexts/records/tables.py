"""The tables of records and their reports.

Every list is read in the order of an index. Who filters by no status reads the three statuses side by side, so the
indexes that begin with the status serve those lists too.
"""

from __future__ import annotations

import sqlalchemy as sa

from windlass.storage.schema import json_text, metadata, name, timestamp

records = sa.Table(
    "records",
    metadata,
    sa.Column("id", name(), primary_key=True),
    sa.Column("created_at", timestamp(), nullable=False),
    sa.Column("status", name(), nullable=False),
    sa.Column("source", name(), nullable=False),
    sa.Column("category", name(), nullable=False),
    sa.Column("payload", json_text(), nullable=False),
    sa.Column("classification", sa.Text),
    sa.Column("score", sa.Double),
    sa.Column("result", json_text()),
    sa.Column("error", sa.Text),
    sa.Column("updated_at", timestamp(), nullable=False),
    sa.Column("processed_at", timestamp()),
    sa.Column("processing_ms", sa.BigInteger),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("run_id", name()),
    sa.Index("ix_records_created_at", "created_at", "id"),
    sa.Index("ix_records_category_created_at", "category", "created_at", "id"),
    sa.Index("ix_records_status_created_at", "status", "created_at", "id"),
    sa.Index("ix_records_status_category", "status", "category", "created_at", "id"),
    sa.Index("ix_records_status_source", "status", "source", "created_at", "id"),
    sa.Index("ix_records_status_category_source", "status", "category", "source", "created_at", "id"),
    sa.Index("ix_records_status_source_category", "status", "source", "category", "created_at", "id"),
)

record_deltas = sa.Table(
    "record_deltas",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("day", name(), nullable=False),
    sa.Column("status", name(), nullable=False),
    sa.Column("category", name(), nullable=False),
    sa.Column("source", name(), nullable=False),
    sa.Column("reason", name()),
    sa.Column("duration", sa.BigInteger),
    sa.Column("ended", name()),
    sa.Column("amount", sa.BigInteger, nullable=False),
    comment="changes of the counts below, written with the records they count and folded in later",
)

record_rollups = sa.Table(
    "record_rollups",
    metadata,
    sa.Column("kind", name(), primary_key=True),
    sa.Column("period", name(), primary_key=True),
    sa.Column("status", name(), primary_key=True),
    sa.Column("category", name(), primary_key=True),
    sa.Column("value", name(), primary_key=True),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
    comment="how many records there are, by kind of question and by UTC day ('' is all time)",
)

record_requests = sa.Table(
    "record_requests",
    metadata,
    sa.Column("scope", name(), primary_key=True),
    sa.Column("key", name(), primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("request_hash", sa.Text, nullable=False),
    sa.Column("answer", json_text(), nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
    comment="what was answered to requests with an Idempotency-Key; a bulk request has one row for each chunk",
)
