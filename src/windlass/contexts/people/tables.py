"""The tables of questions to people.

``workflow_human_inbox`` is an index: one row for each person (or role) that an open question waits for. It goes when
the question is answered, so that a list of what waits for somebody costs what it shows, whatever was answered before.
"""

from __future__ import annotations

import sqlalchemy as sa

from windlass.storage.schema import json_text, metadata, name, timestamp

_open = sa.text("status = 'open'")

tasks = sa.Table(
    "workflow_human_tasks",
    metadata,
    sa.Column("task_id", name(), primary_key=True),
    sa.Column("tenant_id", name(), nullable=False),
    sa.Column("run_id", name(), nullable=False),
    sa.Column("step_id", name(), nullable=False),
    sa.Column("kind", name(), nullable=False),
    sa.Column("status", name(), nullable=False),
    sa.Column("owner", name()),
    sa.Column("assigned_to", json_text(), nullable=False),
    sa.Column("instructions", sa.Text, nullable=False),
    sa.Column("form_schema", json_text()),
    sa.Column("quorum", sa.Integer, nullable=False),
    sa.Column("opened_at", timestamp(), nullable=False),
    sa.Column("due_at", timestamp()),
    sa.Column("remind_every", sa.Double),
    sa.Column("reminders", sa.Integer, nullable=False, server_default="0"),
    sa.Column("closed_at", timestamp()),
    sa.Column("closed_seq", sa.BigInteger),
    sa.Index("ix_workflow_human_tasks_step", "run_id", "step_id", "opened_at", "task_id"),
    sa.Index("ix_workflow_human_tasks_open", "opened_at", "task_id", postgresql_where=_open, sqlite_where=_open),
    sa.Index("ix_workflow_human_tasks_tenant", "tenant_id", "opened_at", "task_id",
             postgresql_where=_open, sqlite_where=_open),
)  # fmt: skip

inbox = sa.Table(
    "workflow_human_inbox",
    metadata,
    sa.Column("tenant_id", name(), primary_key=True),
    sa.Column("assignee", name(), primary_key=True),
    sa.Column("opened_at", timestamp(), primary_key=True),
    sa.Column("task_id", name(), primary_key=True),
    sa.Column("run_id", name(), nullable=False),
    sa.Index("ix_workflow_human_inbox_task_id", "task_id"),
    sqlite_with_rowid=False,
)

decisions = sa.Table(
    "workflow_human_decisions",
    metadata,
    sa.Column("task_id", name(), primary_key=True),
    sa.Column("decider", name(), primary_key=True),
    sa.Column("decision", name(), nullable=False),
    sa.Column("comment", sa.Text),
    sa.Column("edited_fields", json_text()),
    sa.Column("decided_at", timestamp(), nullable=False),
    sqlite_with_rowid=False,
)
