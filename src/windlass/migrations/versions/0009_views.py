"""What operators ask by the names of the contract, answered from what is there: views.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

VIEWS = {
    "workflow_schema_version": "SELECT CAST(version_num AS INTEGER) AS version FROM alembic_version",
    "workflow_event_counters": "SELECT run_id, last_seq AS next_seq FROM workflow_runs",
}


def upgrade() -> None:
    """Create them."""
    for view, query in VIEWS.items():
        op.execute(f"CREATE VIEW {view} AS {query}")


def downgrade() -> None:
    """Drop them."""
    for view in VIEWS:
        op.execute(f"DROP VIEW {view}")
