"""When the definitions that runs were started with were last used: what is not any more may go.

Revision ID: 0015
Revises: 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

USED = "UPDATE workflow_snapshots SET last_used = "
NOW = {
    "sqlite": "CAST(strftime('%s', 'now') AS INTEGER) * 1000000",
    "postgresql": "CAST(extract(epoch FROM now()) AS BIGINT) * 1000000",
}
"""Microseconds."""


def upgrade() -> None:
    """Take those that are there as used just now; one without a time, of an older process, stays."""
    op.add_column("workflow_snapshots", sa.Column("last_used", sa.BigInteger))
    op.execute(USED + NOW[op.get_context().dialect.name])


def downgrade() -> None:
    """Forget it."""
    op.drop_column("workflow_snapshots", "last_used")
