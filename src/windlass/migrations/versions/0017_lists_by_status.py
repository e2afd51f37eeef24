"""Lists of runs read a page, whatever else there is: their indexes begin with what is asked for, then the status.

Revision ID: 0017
Revises: 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

OF_SOMEBODY = (
    "(name = 'workflows.run' OR name = 'webhooks.deliver' OR name = 'webhooks.complete'"
    " OR name = 'webhooks.redeliver' OR name = 'webhooks.replay_many')"
)
OF_DEFINITION = "name = 'workflows.run'"
FAILED = "status = 'failed'"
CLASS = "(substr(error ->> 'message', 1, 40))"
CHILD = "parent_run_id IS NOT NULL"
Indexes = dict[str, tuple[list[str], str | None]]
BEFORE: Indexes = {
    "list": (["status", "created_at", "run_id"], None),
    "owner": (["tenant_id", "user_id", "created_at", "run_id"], OF_DEFINITION),
    "definition": (["tenant_id", "workflow_id", "created_at", "run_id"], OF_DEFINITION),
    "parent": (["parent_run_id"], CHILD),
    "attempts": (["tenant_id", "created_at", "run_id", "failed_attempts"], "failed_attempts >= 1"),
}
NOW: Indexes = {
    "list": (["status", "name", "created_at", "run_id"], None),
    "tenant": (["tenant_id", "name", "status", "created_at", "run_id"], OF_SOMEBODY),
    "owner": (["tenant_id", "user_id", "name", "status", "created_at", "run_id"], OF_SOMEBODY),
    "started": (
        ["tenant_id", "user_id", "name", "status", "started_at", "run_id"],
        f"{OF_SOMEBODY} AND started_at IS NOT NULL",
    ),
    "ended": (
        ["tenant_id", "user_id", "name", "status", "ended_at", "run_id"],
        f"{OF_SOMEBODY} AND ended_at IS NOT NULL",
    ),
    "definition": (["tenant_id", "workflow_id", "status", "created_at", "run_id"], OF_SOMEBODY),
    "owner_definition": (["tenant_id", "user_id", "workflow_id", "status", "created_at", "run_id"], OF_SOMEBODY),
    "definition_started": (
        ["tenant_id", "user_id", "workflow_id", "status", "started_at", "run_id"],
        f"{OF_SOMEBODY} AND started_at IS NOT NULL",
    ),
    "definition_ended": (
        ["tenant_id", "user_id", "workflow_id", "status", "ended_at", "run_id"],
        f"{OF_SOMEBODY} AND ended_at IS NOT NULL",
    ),
    "queue": (["queue", "status", "name", "created_at", "run_id"], "queue <> 'default'"),
    "error": (["status", "name", CLASS, "created_at", "run_id"], FAILED),
    "tenant_error": (
        ["tenant_id", "name", "status", CLASS, "created_at", "run_id"],
        f"{FAILED} AND {OF_SOMEBODY}",
    ),
    "owner_error": (
        ["tenant_id", "user_id", "name", "status", CLASS, "created_at", "run_id"],
        f"{FAILED} AND {OF_SOMEBODY}",
    ),
    "parent": (["parent_run_id", "created_at", "run_id"], CHILD),
    "attempts": (["tenant_id", "failed_attempts", "created_at", "run_id"], "coalesce(failed_attempts, 0) >= 1"),
}


def _exchange(gone: Indexes, come: Indexes) -> None:
    for index in gone:
        op.drop_index(f"ix_workflow_runs_{index}", "workflow_runs")
    for index, (columns, chosen) in come.items():
        parts = [sa.text(column) if column == CLASS else column for column in columns]
        where = None if chosen is None else sa.text(chosen)
        op.create_index(f"ix_workflow_runs_{index}", "workflow_runs", parts, postgresql_where=where, sqlite_where=where)


def upgrade() -> None:
    """Build them anew: this reads every run, a few seconds for a million of them."""
    _exchange(BEFORE, NOW)


def downgrade() -> None:
    """Build the former ones."""
    _exchange(NOW, BEFORE)
