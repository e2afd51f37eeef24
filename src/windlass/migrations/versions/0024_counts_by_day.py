"""Counts of records by day and hour without their categories, which summaries read.

Revision ID: 0024
Revises: 0023
"""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Sum up the counts there are; what waits to be folded is added when it is."""
    op.execute(
        "INSERT INTO record_rollups (kind, period, status, category, value, amount)"
        " SELECT CASE kind WHEN 'ended' THEN 'hour' ELSE 'day' END, period, status, '', '', CAST(sum(amount) AS BIGINT)"
        " FROM record_rollups WHERE kind IN ('count', 'ended') AND period > ''"
        " GROUP BY kind, period, status HAVING sum(amount) <> 0"
    )


def downgrade() -> None:
    """Remove them."""
    op.execute("DELETE FROM record_rollups WHERE kind IN ('day', 'hour')")
