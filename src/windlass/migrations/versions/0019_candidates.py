"""Candidates: companies that register to become providers.

Revision ID: 0019
Revises: 0018
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0019"
down_revision = "0018"
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

_ADDED = "ON CONFLICT (tenant_id, status, product, shard) DO UPDATE SET amount = amount + excluded.amount"


def _sqlite_counts(row: str, amount: int) -> str:
    return f"""INSERT INTO candidate_counts (tenant_id, status, product, shard, amount)
        SELECT DISTINCT {row}.tenant_id, {row}.status, product, 0, {amount} FROM (
            SELECT '' AS product UNION ALL SELECT value FROM json_each({row}.products)) WHERE true {_ADDED};"""  # noqa: S608


SQLITE_COUNTS = {
    "insert": ("INSERT", _sqlite_counts("NEW", 1)),
    "update": ("UPDATE OF tenant_id, status, products", _sqlite_counts("OLD", -1) + _sqlite_counts("NEW", 1)),
    "delete": ("DELETE", _sqlite_counts("OLD", -1)),
}
SQLITE_COUNTING = [
    f"CREATE TRIGGER candidates_are_counted_on_{on} AFTER {event} ON candidates BEGIN {does} END"
    for on, (event, does) in SQLITE_COUNTS.items()
]


def _postgres_counts(table: str, amount: int) -> str:
    return f"""SELECT DISTINCT id, tenant_id, status, product, {amount} AS amount FROM {table}, LATERAL (
            SELECT '' AS product UNION ALL SELECT jsonb_array_elements_text(products)) AS offered"""  # noqa: S608


def _postgres_added(changes: str) -> str:
    return f"""INSERT INTO candidate_counts AS kept (tenant_id, status, product, shard, amount)
            SELECT tenant_id, status, product, pg_backend_pid() % 1024, sum(amount) FROM ({changes}) AS changed
            GROUP BY tenant_id, status, product HAVING sum(amount) <> 0 ORDER BY tenant_id, status, product
            ON CONFLICT (tenant_id, status, product, shard)
            DO UPDATE SET amount = kept.amount + excluded.amount;"""  # noqa: S608


_FRESH, _GONE = _postgres_counts("fresh", 1), _postgres_counts("gone", -1)
POSTGRES_COUNTS = (
    f"""CREATE FUNCTION candidates_are_counted() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            {_postgres_added(_FRESH)}
        ELSIF TG_OP = 'UPDATE' THEN
            {_postgres_added(f"{_FRESH} UNION ALL {_GONE}")}
        ELSIF TG_OP = 'DELETE' THEN
            {_postgres_added(_GONE)}
        ELSE
            DELETE FROM candidate_counts;
        END IF;
        RETURN NULL;
    END $$""",  # noqa: S608
    """CREATE TRIGGER candidates_are_counted_on_insert AFTER INSERT ON candidates
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION candidates_are_counted()""",
    """CREATE TRIGGER candidates_are_counted_on_update AFTER UPDATE ON candidates
    REFERENCING NEW TABLE AS fresh OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION candidates_are_counted()""",
    """CREATE TRIGGER candidates_are_counted_on_delete AFTER DELETE ON candidates
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION candidates_are_counted()""",
    """CREATE TRIGGER candidates_are_counted_on_truncate AFTER TRUNCATE ON candidates
    FOR EACH STATEMENT EXECUTE FUNCTION candidates_are_counted()""",
)


def name() -> sa.types.TypeEngine[Any]:
    """Text compared byte by byte."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def time() -> sa.types.TypeEngine[Any]:
    """A time people read."""
    return sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Create the tables, their indexes and triggers."""
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
        sa.Column("approval_error", sa.Text),
        sa.Column("approval_failed_at", time()),
        sa.Column("billing_name", sa.Text),
        sa.Column("billing_since", time()),
        sa.CheckConstraint("status IN ('pending', 'approved', 'rejected')", name=op.f("ck_candidates_status")),
        sa.CheckConstraint("truck_count > 0", name=op.f("ck_candidates_truck_count")),
        sa.CheckConstraint("capacity_tons_per_day > 0", name=op.f("ck_candidates_capacity_tons_per_day")),
        sa.PrimaryKeyConstraint("id", name="pk_candidates"),
    )
    _create_indexes()
    _create_counts()
    for statement in (*POSTGRES_TRIGGER, *POSTGRES_COUNTS) if _postgres() else (SQLITE_TRIGGER, *SQLITE_COUNTING):
        op.execute(statement)


def _create_indexes() -> None:
    newest: list[Any] = [sa.text("created_at DESC"), sa.text("id DESC")]
    for index, columns in (
        ("idx_candidates_status", ["status", *newest]),
        ("idx_candidates_created_at", newest),
        ("idx_candidates_version", ["id", "version"]),
        ("ix_candidates_tenant", ["tenant_id", *newest]),
        ("ix_candidates_tenant_status", ["tenant_id", "status", *newest]),
        ("ix_candidates_company_name", ["company_name"]),
    ):
        op.create_index(index, "candidates", columns)
    op.create_index("uq_candidates_contact_email", "candidates", [sa.text("lower(contact_email)")], unique=True)
    for index, columns, unique, where in (
        ("uq_candidates_provider_id", ["provider_id"], True, "provider_id IS NOT NULL"),
        ("ix_candidates_approving", ["approval_state", "approval_at"], False, "approval_state IS NOT NULL"),
        ("ix_candidates_approval_run", ["approval_run_id"], False, "approval_state IS NOT NULL"),
        ("ix_candidates_billing_name", ["billing_name"], False, "billing_name IS NOT NULL"),
    ):
        op.create_index(
            index, "candidates", columns, unique=unique, postgresql_where=sa.text(where), sqlite_where=sa.text(where)
        )
    if _postgres():
        op.create_index("idx_candidates_products", "candidates", ["products"], postgresql_using="gin")


def _create_counts() -> None:
    op.create_table(
        "candidate_counts",
        sa.Column("tenant_id", name(), nullable=False),
        sa.Column("status", name(), nullable=False),
        sa.Column("product", name(), nullable=False),
        sa.Column("shard", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "status", "product", "shard", name="pk_candidate_counts"),
        postgresql_with={"fillfactor": "70"},
        sqlite_with_rowid=False,
        comment="how many candidates there are, kept by triggers on their table; the product '' is all of them",
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("candidates")
    op.drop_table("candidate_counts")
    if _postgres():
        op.execute(f"DROP FUNCTION {TRIGGER}()")
        op.execute("DROP FUNCTION candidates_are_counted()")


def _postgres() -> bool:
    return op.get_context().dialect.name == "postgresql"
