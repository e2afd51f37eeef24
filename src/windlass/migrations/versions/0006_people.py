"""Questions to people, and their answers.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TRIGGER = "workflow_runs_take_their_questions_along"
SQLITE_TRIGGER = """CREATE TRIGGER workflow_runs_take_their_questions_along AFTER DELETE ON workflow_runs
    BEGIN
        DELETE FROM workflow_human_inbox WHERE task_id IN (
            SELECT task_id FROM workflow_human_tasks WHERE run_id = OLD.run_id);
        DELETE FROM workflow_human_decisions WHERE task_id IN (
            SELECT task_id FROM workflow_human_tasks WHERE run_id = OLD.run_id);
        DELETE FROM workflow_human_tasks WHERE run_id = OLD.run_id;
    END"""
POSTGRES_TRIGGER = (
    """CREATE FUNCTION workflow_runs_take_their_questions_along() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM workflow_human_inbox WHERE task_id IN (
            SELECT t.task_id FROM workflow_human_tasks t JOIN gone g ON g.run_id = t.run_id);
        DELETE FROM workflow_human_decisions WHERE task_id IN (
            SELECT t.task_id FROM workflow_human_tasks t JOIN gone g ON g.run_id = t.run_id);
        DELETE FROM workflow_human_tasks WHERE run_id IN (SELECT run_id FROM gone);
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER workflow_runs_take_their_questions_along AFTER DELETE ON workflow_runs
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION workflow_runs_take_their_questions_along()""",
)


def name() -> sa.types.TypeEngine[Any]:
    """Text compared byte by byte."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def json() -> sa.types.TypeEngine[Any]:
    """A JSON document."""
    return sa.Text().with_variant(JSONB(), "postgresql")


def time() -> sa.types.TypeEngine[Any]:
    """A time people read."""
    return sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "workflow_human_tasks",
        sa.Column("task_id", name(), nullable=False),
        sa.Column("tenant_id", name(), nullable=False),
        sa.Column("run_id", name(), nullable=False),
        sa.Column("step_id", name(), nullable=False),
        sa.Column("kind", name(), nullable=False),
        sa.Column("status", name(), nullable=False),
        sa.Column("owner", name()),
        sa.Column("assigned_to", json(), nullable=False),
        sa.Column("instructions", sa.Text, nullable=False),
        sa.Column("form_schema", json()),
        sa.Column("quorum", sa.Integer, nullable=False),
        sa.Column("opened_at", time(), nullable=False),
        sa.Column("due_at", time()),
        sa.Column("remind_every", sa.Double),
        sa.Column("reminders", sa.Integer, nullable=False, server_default="0"),
        sa.Column("closed_at", time()),
        sa.Column("closed_seq", sa.BigInteger),
        sa.PrimaryKeyConstraint("task_id", name="pk_workflow_human_tasks"),
    )
    still_open = sa.text("status = 'open'")
    op.create_index(
        "ix_workflow_human_tasks_step", "workflow_human_tasks", ["run_id", "step_id", "opened_at", "task_id"]
    )
    for index, columns in (("open", []), ("tenant", ["tenant_id"])):
        op.create_index(
            f"ix_workflow_human_tasks_{index}", "workflow_human_tasks", [*columns, "opened_at", "task_id"],
            postgresql_where=still_open, sqlite_where=still_open,
        )  # fmt: skip
    op.create_table(
        "workflow_human_inbox",
        sa.Column("tenant_id", name(), nullable=False),
        sa.Column("assignee", name(), nullable=False),
        sa.Column("opened_at", time(), nullable=False),
        sa.Column("task_id", name(), nullable=False),
        sa.Column("run_id", name(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "assignee", "opened_at", "task_id", name="pk_workflow_human_inbox"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_workflow_human_inbox_task_id", "workflow_human_inbox", ["task_id"])
    op.create_table(
        "workflow_human_decisions",
        sa.Column("task_id", name(), nullable=False),
        sa.Column("decider", name(), nullable=False),
        sa.Column("decision", name(), nullable=False),
        sa.Column("comment", sa.Text),
        sa.Column("edited_fields", json()),
        sa.Column("decided_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "decider", name="pk_workflow_human_decisions"),
        sqlite_with_rowid=False,
    )
    for statement in POSTGRES_TRIGGER if _postgres() else (SQLITE_TRIGGER,):
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    op.execute(f"DROP TRIGGER {TRIGGER}" + (" ON workflow_runs" if _postgres() else ""))
    if _postgres():
        op.execute(f"DROP FUNCTION {TRIGGER}()")
    for table in ("workflow_human_decisions", "workflow_human_inbox", "workflow_human_tasks"):
        op.drop_table(table)


def _postgres() -> bool:
    return op.get_context().dialect.name == "postgresql"
