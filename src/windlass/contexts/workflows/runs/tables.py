"""The tables of runs of definitions, beside the engine's own."""

from __future__ import annotations

import sqlalchemy as sa

from windlass.storage.schema import metadata, name

snapshots = sa.Table(
    "workflow_snapshots",
    metadata,
    sa.Column("digest", name(), primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("last_used", sa.BigInteger),
    comment="definitions as runs were started with them, by the hash of their JSON",
)

secrets = sa.Table(
    "workflow_run_secrets",
    metadata,
    sa.Column("run_id", name(), primary_key=True),
    sa.Column("sealed", sa.Text, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    comment="secrets of runs, sealed under WORKFLOWS_SECRETS_KEY; gone when their time is up or the run has ended",
)
