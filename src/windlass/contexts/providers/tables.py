"""The tables of candidates.

Every UPDATE, by hand too, raises ``version`` and sets ``updated_at``: a trigger of migration 0019 does so, and code
compares ``version``. The indexes of the contract serve an operator's queries; callers see one tenant, whose pages are
read from the indexes that begin with it. How many there are is kept by triggers: see ``counts``.
"""

from __future__ import annotations

import sqlalchemy as sa

from windlass.storage.schema import json_text, metadata, name, timestamp

_provided = sa.text("provider_id IS NOT NULL")
_approving = sa.text("approval_state IS NOT NULL")
_asked = sa.text("billing_name IS NOT NULL")

candidates = sa.Table(
    "candidates",
    metadata,
    sa.Column("id", name(), primary_key=True),
    sa.Column("tenant_id", name(), nullable=False, server_default="default"),
    sa.Column("company_name", name(), nullable=False),
    sa.Column("contact_email", name(), nullable=False),
    sa.Column("phone", sa.Text),
    sa.Column("products", json_text(), nullable=False),
    sa.Column("truck_count", sa.BigInteger, nullable=False),
    sa.Column("capacity_tons_per_day", sa.BigInteger, nullable=False),
    sa.Column("location", sa.Text),
    sa.Column("status", name(), nullable=False, server_default="pending"),
    sa.Column("provider_id", sa.BigInteger),
    sa.Column("version", sa.BigInteger, nullable=False, server_default="1"),
    sa.Column("rejection_reason", sa.Text),
    sa.Column("created_at", timestamp(), nullable=False),
    sa.Column("updated_at", timestamp(), nullable=False),
    sa.Column("approval_state", name()),
    sa.Column("approval_run_id", name()),
    sa.Column("approval_by", name()),
    sa.Column("approval_by_name", sa.Text),
    sa.Column("approval_at", timestamp()),
    sa.Column("approval_expires_at", timestamp()),
    sa.Column("approval_note", sa.Text),
    sa.Column("approval_error", sa.Text),
    sa.Column("approval_failed_at", timestamp()),
    sa.Column("billing_name", sa.Text),
    sa.Column("billing_since", timestamp()),
    sa.CheckConstraint("status IN ('pending', 'approved', 'rejected')", name="status"),
    sa.CheckConstraint("truck_count > 0", name="truck_count"),
    sa.CheckConstraint("capacity_tons_per_day > 0", name="capacity_tons_per_day"),
    sa.Index("idx_candidates_products", "products", postgresql_using="gin").ddl_if(dialect="postgresql"),
    sa.Index("idx_candidates_version", "id", "version"),
    sa.Index("uq_candidates_contact_email", sa.text("lower(contact_email)"), unique=True),
    sa.Index("uq_candidates_provider_id", "provider_id", unique=True,
             postgresql_where=_provided, sqlite_where=_provided),
    sa.Index("ix_candidates_company_name", "company_name"),
    sa.Index("ix_candidates_approving", "approval_state", "approval_at",
             postgresql_where=_approving, sqlite_where=_approving),
    sa.Index("ix_candidates_approval_run", "approval_run_id", postgresql_where=_approving, sqlite_where=_approving),
    sa.Index("ix_candidates_billing_name", "billing_name", postgresql_where=_asked, sqlite_where=_asked),
)  # fmt: skip

_c = candidates.c
_newest = (_c.created_at.desc(), _c.id.desc())
sa.Index("idx_candidates_status", _c.status, *_newest)
sa.Index("idx_candidates_created_at", *_newest)
sa.Index("ix_candidates_tenant", _c.tenant_id, *_newest)
sa.Index("ix_candidates_tenant_status", _c.tenant_id, _c.status, *_newest)

candidate_counts = sa.Table(
    "candidate_counts",
    metadata,
    sa.Column("tenant_id", name(), primary_key=True),
    sa.Column("status", name(), primary_key=True),
    sa.Column("product", name(), primary_key=True),
    sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    postgresql_with={"fillfactor": "70"},
    sqlite_with_rowid=False,
    comment="how many candidates there are, kept by triggers on their table; the product '' is all of them",
)
