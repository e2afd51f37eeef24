"""The tables of artifacts.

A row of ``workflow_artifacts`` names an object by its ``uri``; several rows may name the same one. The object of a
content is the row of ``workflow_artifact_objects`` under its hash: whoever puts an artifact or removes the last one
locks that row, so that two processes agree. ``workflow_artifact_uploads`` holds the keys of objects that are being put
in place: an object without a row in either table belongs to nobody.
"""

from __future__ import annotations

import sqlalchemy as sa

from windlass.storage.schema import json_text, metadata, name, timestamp

workflow_artifacts = sa.Table(
    "workflow_artifacts",
    metadata,
    sa.Column("artifact_id", name(), primary_key=True),
    sa.Column("tenant_id", name(), nullable=False, server_default="default"),
    sa.Column("run_id", name(), nullable=False),
    sa.Column("step_run_id", name()),
    sa.Column("type", name(), nullable=False),
    sa.Column("uri", name(), nullable=False),
    sa.Column("size_bytes", sa.BigInteger),
    sa.Column("mime_type", sa.Text),
    sa.Column("checksum_sha256", name()),
    sa.Column("encryption", sa.Text),
    sa.Column("owned_by", name()),
    sa.Column("metadata_json", json_text(), nullable=False, server_default="{}"),
    sa.Column("created_at", timestamp(), nullable=False),
    sa.Index("ix_workflow_artifacts_run_id", "run_id", "created_at", "artifact_id"),
    sa.Index("ix_workflow_artifacts_created_at", "created_at", "artifact_id"),
    sa.Index("ix_workflow_artifacts_uri", "uri"),
)

workflow_artifact_objects = sa.Table(
    "workflow_artifact_objects",
    metadata,
    sa.Column("checksum_sha256", name(), primary_key=True),
    sa.Column("object_key", name(), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("created_at", timestamp(), nullable=False),
    comment="where a content is kept; removed with the last artifact that has it",
)

workflow_artifact_uploads = sa.Table(
    "workflow_artifact_uploads",
    metadata,
    sa.Column("object_key", name(), primary_key=True),
    sa.Column("created_at", timestamp(), nullable=False),
    comment="objects on their way: whole on disk, not named by any artifact yet",
)
