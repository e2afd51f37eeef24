"""Counts for operators, each read from an index."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from windlass.engine.types import TERMINAL, Status
from windlass.storage.schema import workflow_runs

MOST_COUNTED = 100_000
"""How deep a queue is told to be at most: a health check has no time to count further."""


class QueueState(NamedTuple):
    """How many runs of a queue wait for a place (``MOST_COUNTED`` at most), and whose runs are being carried out."""

    depth: int
    active_tenants: int
    active_workflows: int


def open_runs(connection: sa.Connection) -> dict[str, int]:
    """Return how many runs have not ended, by status."""
    c = workflow_runs.c
    still_open = [status.value for status in Status if status not in TERMINAL]
    counted = sa.select(c.status, sa.func.count()).where(c.status.in_(still_open)).group_by(c.status)
    return dict.fromkeys(still_open, 0) | {row[0]: row[1] for row in connection.execute(counted)}


def queue_state(connection: sa.Connection, queue: str) -> QueueState:
    """Return how a queue is doing."""
    c = workflow_runs.c
    ready = sa.and_(c.queue == queue, c.holder.is_(None), c.ready_at.is_not(None))
    waiting = sa.select(sa.literal(1).label("one")).where(ready).limit(MOST_COUNTED).subquery()
    held = sa.select(c.tenant_id, c.workflow_id).where(c.holder.is_not(None), c.queue == queue).limit(MOST_COUNTED)
    some = held.subquery()
    who = sa.select(sa.func.count(some.c.tenant_id.distinct()), sa.func.count(some.c.workflow_id.distinct()))
    depth = connection.execute(sa.select(sa.func.count()).select_from(waiting)).scalar_one()
    tenants, workflows = connection.execute(who).one()
    return QueueState(depth, tenants, workflows)


def schema_version(connection: sa.Connection) -> int | None:
    """Return the number of the newest migration that the database has; None where it has none."""
    version: int | None = connection.execute(sa.text("SELECT version FROM workflow_schema_version")).scalar()
    return version
