"""Candidates: companies that register to become providers.

Revision ID: 0017
Revises: 0016
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TRIGGER = "candidates_know_their_version"
SQLITE_TRIGGER = """CREATE TRIGGER candidates_know_their_version AFTER UPDATE ON candidates
    BEGIN
        UPDATE candidates SET version = OLD.version + 1, updated_at = CASE
            WHEN NEW.updated_at = OLD.updated_at THEN strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
            ELSE NEW.updated_at END WHERE id = NEW.id;
    END"""
POSTGRES_TRIGGER = (
    """CREATE FUNCTION candidates_know_their_version() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.version := OLD.version + 1;
        IF NEW.updated_at = OLD.updated_at THEN
            NEW.updated_at := clock_timestamp();
        END IF;
        RETURN NEW;
    END $$""",
    """CREATE TRIGGER candidates_know_their_version BEFORE UPDATE ON candidates
    FOR EACH ROW EXECUTE FUNCTION candidates_know_their_version()""",
)


def name() -> sa.types.TypeEngine[Any]:
    """Text compared byte by byte."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def time() -> sa.types.TypeEngine[Any]:
    """A time people read."""
    return sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Create the table, its indexes and its trigger."""
    op.create_table(
        "candidates",
        sa.Column("id", name(), nullable=False),
        sa.Column("tenant_id", name(), nullable=False, server_default="default"),
        sa.Column("company_name", name(), nullable=False),
        sa.Column("contact_email", name(), nullable=False),
        sa.Column("phone", sa.Text),
        sa.Column("products", sa.Text().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("truck_count", sa.BigInteger, nullable=False),
        sa.Column("capacity_tons_per_day", sa.BigInteger, nullable=False),
        sa.Column("location", sa.Text),
        sa.Column("status", name(), nullable=False, server_default="pending"),
        sa.Column("provider_id", sa.BigInteger),
        sa.Column("version", sa.BigInteger, nullable=False, server_default="1"),
        sa.Column("rejection_reason", sa.Text),
        sa.Column("created_at", time(), nullable=False),
        sa.Column("updated_at", time(), nullable=False),
        sa.Column("approval_state", name()),
        sa.Column("approval_run_id", name()),
        sa.Column("approval_by", name()),
        sa.Column("approval_by_name", sa.Text),
        sa.Column("approval_at", time()),
        sa.Column("approval_expires_at", time()),
        sa.Column("approval_note", sa.Text),
        sa.Column("billing_name", sa.Text),
        sa.Column("billing_since", time()),
        sa.CheckConstraint("status IN ('pending', 'approved', 'rejected')", name=op.f("ck_candidates_status")),
        sa.CheckConstraint("truck_count > 0", name=op.f("ck_candidates_truck_count")),
        sa.CheckConstraint("capacity_tons_per_day > 0", name=op.f("ck_candidates_capacity_tons_per_day")),
        sa.PrimaryKeyConstraint("id", name="pk_candidates"),
    )
    newest = [sa.text("created_at DESC"), sa.text("id DESC")]
    for index, columns in (
        ("idx_candidates_status", ["status", *newest]),
        ("idx_candidates_created_at", newest),
        ("idx_candidates_version", ["id", "version"]),
        ("ix_candidates_tenant", ["tenant_id", *newest]),
        ("ix_candidates_tenant_status", ["tenant_id", "status", *newest]),
        ("ix_candidates_counts", ["tenant_id", "status"]),
        ("ix_candidates_company_name", ["company_name"]),
    ):
        op.create_index(index, "candidates", columns)
    op.create_index("uq_candidates_contact_email", "candidates", [sa.text("lower(contact_email)")], unique=True)
    for index, columns, unique, where in (
        ("uq_candidates_provider_id", ["provider_id"], True, "provider_id IS NOT NULL"),
        ("ix_candidates_approving", ["approval_state", "approval_at"], False, "approval_state IS NOT NULL"),
    ):
        op.create_index(
            index, "candidates", columns, unique=unique, postgresql_where=sa.text(where), sqlite_where=sa.text(where)
        )
    if _postgres():
        op.create_index("idx_candidates_products", "candidates", ["products"], postgresql_using="gin")
    for statement in POSTGRES_TRIGGER if _postgres() else (SQLITE_TRIGGER,):
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    op.drop_table("candidates")
    if _postgres():
        op.execute(f"DROP FUNCTION {TRIGGER}()")


def _postgres() -> bool:
    return op.get_context().dialect.name == "postgresql"
