"""Where each run has begun anew: what is before that is not read when it goes on.

Revision ID: 0022
Revises: 0021
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_WHERE = sa.text("event_type = 'run_continued'")


def upgrade() -> None:
    """Make the index."""
    op.create_index(
        "ix_workflow_events_continued", "workflow_events", ["run_id", "event_seq"],
        postgresql_where=_WHERE, sqlite_where=_WHERE,
    )  # fmt: skip


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_workflow_events_continued", "workflow_events")
