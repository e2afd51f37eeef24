"""Runs with much input or output slow nobody down on SQLite: the table is found by an index that holds ids alone.

A table WITHOUT ROWID is one tree whose keys are whole rows: to compare an id there, SQLite reads all of a row that is
larger than a page. One run with 50 MB of outputs was read several times by each commit of its neighbours.

Revision ID: 0018
Revises: 0017
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

TABLE = "workflow_runs"
BEFORE = f"{TABLE}_before"
WITHOUT = " WITHOUT ROWID"
BELONGING = f"SELECT sql FROM sqlite_master WHERE tbl_name = '{TABLE}' AND type = '{{}}' AND sql IS NOT NULL"  # noqa: S608  names of ours
READY = "ix_workflow_runs_ready"
ORDER = ["queue", "priority", "claim_rank", "ready_at"]


def upgrade() -> None:
    """Keep runs in a table with row ids, whose indexes no longer hold the id by themselves."""
    _make_anew(lambda told: told.rstrip().removesuffix(WITHOUT.strip()))
    _order_by([*ORDER, "run_id"])


def downgrade() -> None:
    """Keep them in one without."""
    _order_by(ORDER)
    _make_anew(lambda told: told.rstrip() + WITHOUT)


def _order_by(columns: list[str]) -> None:
    where = sa.text("holder IS NULL AND ready_at IS NOT NULL AND lane = ''")
    op.drop_index(READY, TABLE)
    op.create_index(READY, TABLE, columns, postgresql_where=where, sqlite_where=where)


def _make_anew(change: Callable[[str], str]) -> None:
    """Make the table as a changed statement says, on SQLite, and put everything back that belongs to it."""
    if op.get_context().dialect.name != "sqlite":
        return
    connection = op.get_bind()
    (made,) = connection.scalars(sa.text(BELONGING.format("table")))
    others = [*connection.scalars(sa.text(BELONGING.format("index")))]
    others += connection.scalars(sa.text(BELONGING.format("trigger")))
    connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")  # what others' triggers and views name stays as it is
    connection.exec_driver_sql(f"ALTER TABLE {TABLE} RENAME TO {BEFORE}")
    connection.exec_driver_sql("PRAGMA legacy_alter_table = OFF")
    connection.exec_driver_sql(change(made))
    connection.exec_driver_sql(f"INSERT INTO {TABLE} SELECT * FROM {BEFORE} ORDER BY run_id")  # noqa: S608
    connection.exec_driver_sql(f"DROP TABLE {BEFORE}")
    for statement in others:
        connection.exec_driver_sql(statement)
