"""Which runs have failed attempts, and how many: what lists of failing runs are read from.

Revision ID: 0013
Revises: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

FAILING = (
    "failed_attempts IS NOT NULL AND status IN ('queued', 'running', 'paused', 'waiting_human', 'waiting_approval')"
)
INDEXES = {
    "ix_workflow_runs_failing": (["tenant_id", "created_at", "run_id"], FAILING),
    "ix_workflow_runs_attempts": (["tenant_id", "created_at", "run_id", "failed_attempts"], "failed_attempts >= 1"),
}


def upgrade() -> None:
    """Count them from now on; earlier failures of runs are not looked for."""
    op.add_column("workflow_runs", sa.Column("failed_attempts", sa.SmallInteger))
    for index, (columns, text) in INDEXES.items():
        where = sa.text(text)
        op.create_index(index, "workflow_runs", columns, postgresql_where=where, sqlite_where=where)


def downgrade() -> None:
    """Forget them."""
    for index in INDEXES:
        op.drop_index(index, "workflow_runs")
    op.drop_column("workflow_runs", "failed_attempts")
