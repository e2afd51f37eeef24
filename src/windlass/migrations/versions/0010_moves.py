"""The mark of a move from one database to another, and what keeps processes away that have not heard of it.

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# Every transaction of a process begins with its row in workflow_commits: one that slept through the move wakes up to
# a database that takes nothing any more. On PostgreSQL a process without a lease carries nothing out.
SQLITE_TRIGGER = """CREATE TRIGGER workflow_commits_end_with_a_move BEFORE INSERT ON workflow_commits
    WHEN EXISTS (SELECT 1 FROM database_moves WHERE state IN ('frozen', 'moved'))
    BEGIN SELECT RAISE(ABORT, 'this database has been moved'); END"""
POSTGRES_TRIGGER = (
    """CREATE FUNCTION workflow_leases_begin_after_a_move() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT 1 FROM database_moves WHERE state IN ('filling', 'returned')) THEN
            RAISE EXCEPTION 'this database is not the one in use: see windlass db move';
        END IF;
        RETURN NEW;
    END $$""",
    """CREATE TRIGGER workflow_leases_begin_after_a_move BEFORE INSERT ON workflow_leases
    FOR EACH ROW EXECUTE FUNCTION workflow_leases_begin_after_a_move()""",
)


def name() -> sa.types.TypeEngine[Any]:
    """Return the type of an id or name: compared byte by byte on both databases."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table and its guard."""
    op.create_table(
        "database_moves",
        sa.Column("place", name(), nullable=False),
        sa.Column("state", name(), nullable=False),
        sa.Column("move_id", name(), nullable=False),
        sa.Column("other", sa.Text, nullable=False),
        sa.Column("at", sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql"), nullable=False),
        sa.PrimaryKeyConstraint("place", name="pk_database_moves"),
        comment="the one row says that this database is being moved, has been moved, or came to be by a move",
    )
    for statement in POSTGRES_TRIGGER if _postgres() else (SQLITE_TRIGGER,):
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    if _postgres():
        op.execute("DROP TRIGGER workflow_leases_begin_after_a_move ON workflow_leases")
        op.execute("DROP FUNCTION workflow_leases_begin_after_a_move()")
    else:
        op.execute("DROP TRIGGER workflow_commits_end_with_a_move")
    op.drop_table("database_moves")


def _postgres() -> bool:
    return op.get_context().dialect.name == "postgresql"
