"""When the definitions that runs were started with were last used: what is not any more may go.

Revision ID: 0015
Revises: 0014
"""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take those that are there as used just now; one without a time, of an older process, stays."""
    op.add_column("workflow_snapshots", sa.Column("last_used", sa.BigInteger))
    used = sa.text("UPDATE workflow_snapshots SET last_used = :now").bindparams(now=time.time_ns() // 1000)
    op.execute(used)


def downgrade() -> None:
    """Forget it."""
    op.drop_column("workflow_snapshots", "last_used")
