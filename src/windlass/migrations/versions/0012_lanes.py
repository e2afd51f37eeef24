"""Runs in lanes, the limits that these share, and whose turn it is.

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

READY = "holder IS NULL AND ready_at IS NOT NULL"


def name() -> sa.types.TypeEngine[Any]:
    """Return the type of an id or name: compared byte by byte on both databases."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def index(index_name: str, columns: list[Any], where: str) -> None:
    """Create an index over the ready runs that ``where`` selects."""
    chosen = sa.text(where)
    op.create_index(index_name, "workflow_runs", columns, postgresql_where=chosen, sqlite_where=chosen)


def upgrade() -> None:
    """Let runs have a lane; those that are there have none."""
    op.add_column("workflow_runs", sa.Column("lane", name(), nullable=False, server_default=sa.text("''")))
    op.add_column("workflow_runs", sa.Column("ageing", sa.BigInteger, nullable=False, server_default="0"))
    op.drop_index("ix_workflow_runs_ready", "workflow_runs")
    index("ix_workflow_runs_ready", ["queue", "priority", "claim_rank", "ready_at"], f"{READY} AND lane = ''")
    due = sa.text("(ready_at + (priority + claim_rank) * ageing)")
    index("ix_workflow_runs_lanes", ["lane", due, "run_id"], f"{READY} AND lane <> ''")
    op.create_table(
        "workflow_concurrency",
        sa.Column("name", name(), nullable=False),
        sa.Column("most", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_workflow_concurrency"),
        comment="limits that somebody has set, by a prefix of the lanes that share them; the others are the settings'",
    )
    op.create_table(
        "workflow_seats",
        sa.Column("name", name(), nullable=False),
        sa.Column("run_id", name(), nullable=False),
        sa.PrimaryKeyConstraint("name", "run_id", name="pk_workflow_seats"),
        comment="which held run counts against which limit; written under the lock of its tenant's row in"
        " workflow_turns",
    )
    op.create_index("ix_workflow_seats_run_id", "workflow_seats", ["run_id"])
    op.create_table(
        "workflow_turns",
        sa.Column("tenant", name(), nullable=False),
        sa.Column("weight", sa.Integer, nullable=False, server_default="1"),
        sa.Column("turn", sa.BigInteger),
        sa.Column("lane", name(), nullable=False, server_default=sa.text("''")),
        sa.PrimaryKeyConstraint("tenant", name="pk_workflow_turns"),
        comment="when each tenant's last turn began, in virtual time, and the lane that it was for",
    )
    op.create_index("ix_workflow_turns_turn", "workflow_turns", ["turn"])


def downgrade() -> None:
    """Let every run be of its queue alone."""
    for table in ("workflow_turns", "workflow_seats", "workflow_concurrency"):
        op.drop_table(table)
    op.drop_index("ix_workflow_runs_lanes", "workflow_runs")
    op.drop_index("ix_workflow_runs_ready", "workflow_runs")
    for column in ("ageing", "lane"):
        op.drop_column("workflow_runs", column)
    index("ix_workflow_runs_ready", ["queue", "priority", "claim_rank", "ready_at"], READY)
