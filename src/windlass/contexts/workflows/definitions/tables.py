"""The table of definitions.

A row is one version; a version never changes. A workflow is what one owner calls by one name within a tenant: at most
one of its versions is current, the one that its name stands for.
"""

from __future__ import annotations

import sqlalchemy as sa

from windlass.storage.schema import metadata, name, timestamp

_current = sa.text("is_current")

workflows = sa.Table(
    "workflows",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("tenant_id", name(), nullable=False),
    sa.Column("name", name(), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("owner_id", name(), nullable=False),
    sa.Column("visibility", name(), nullable=False, server_default="private"),
    sa.Column("description", sa.Text),
    sa.Column("tags", sa.Text, nullable=False, server_default="[]"),
    sa.Column("definition_json", sa.Text, nullable=False),
    sa.Column("created_at", timestamp(), nullable=False),
    sa.Column("updated_at", timestamp(), nullable=False),
    sa.Column("is_active", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("is_current", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("promotion", sa.BigInteger),
    sa.UniqueConstraint("tenant_id", "name", "version"),
    sa.Index("ix_workflows_owner_id", "tenant_id", "owner_id", "name", "version"),
    sa.Index("ix_workflows_current", "tenant_id", "owner_id", "name", unique=True,
             postgresql_where=_current, sqlite_where=_current),
    comment="definitions as they were given, a row for each version; promotion counts which became current when",
)  # fmt: skip
