"""Counts for operators, each read from an index."""

from __future__ import annotations

import sqlalchemy as sa

from windlass.engine.types import TERMINAL, Status
from windlass.storage.schema import workflow_runs


def open_runs(connection: sa.Connection) -> dict[str, int]:
    """Return how many runs have not ended, by status."""
    c = workflow_runs.c
    still_open = [status.value for status in Status if status not in TERMINAL]
    counted = sa.select(c.status, sa.func.count()).where(c.status.in_(still_open)).group_by(c.status)
    return dict.fromkeys(still_open, 0) | {row[0]: row[1] for row in connection.execute(counted)}
