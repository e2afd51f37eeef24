"""Deleting a run's events by hand writes its row once, not once for each: see ``storage.history``.

Revision ID: 0016
Revises: 0015
"""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

NAME = "workflow_runs_know_where_their_history_begins"
ONCE = """CREATE TRIGGER workflow_runs_know_where_their_history_begins AFTER DELETE ON workflow_events
 WHEN (SELECT history_from_seq FROM workflow_runs WHERE run_id = OLD.run_id) BETWEEN 1 AND OLD.event_seq
 BEGIN
    UPDATE workflow_runs SET history_from_seq = 0 WHERE run_id = OLD.run_id;
 END"""
EACH = """CREATE TRIGGER workflow_runs_know_where_their_history_begins AFTER DELETE ON workflow_events
 BEGIN
    UPDATE workflow_runs SET history_from_seq = OLD.event_seq + 1
    WHERE run_id = OLD.run_id AND history_from_seq <= OLD.event_seq;
 END"""
ASKED = "UPDATE workflow_runs SET history_from_seq = last_seq + 1 WHERE history_from_seq = 0"


def upgrade() -> None:
    """On SQLite, whose triggers know no statements."""
    if op.get_context().dialect.name == "sqlite":
        op.execute(f"DROP TRIGGER {NAME}")
        op.execute(ONCE)


def downgrade() -> None:
    """Take journals that have to be asked as gone."""
    op.execute(ASKED)
    if op.get_context().dialect.name == "sqlite":
        op.execute(f"DROP TRIGGER {NAME}")
        op.execute(EACH)
