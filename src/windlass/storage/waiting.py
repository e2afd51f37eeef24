"""Which queues have runs to claim, on both SQL databases: the cost is by queues, not by runs."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from windlass.kernel.lanes import LaneRules
from windlass.storage.lanes.asking import anything
from windlass.storage.lanes.choosing import Open
from windlass.storage.schema import CODE, workflow_runs

READY = "holder IS NULL AND ready_at IS NOT NULL AND lane = ''"
"""Runs of no lane that may be claimed."""
_READY = f"FROM workflow_runs WHERE {READY}"

WAITING_QUEUES = f"""WITH RECURSIVE waiting (queue) AS (
 SELECT (SELECT queue {_READY} ORDER BY queue LIMIT 1)
 UNION ALL SELECT (SELECT workflow_runs.queue {_READY} AND workflow_runs.queue > waiting.queue
 ORDER BY workflow_runs.queue LIMIT 1) FROM waiting WHERE waiting.queue IS NOT NULL)
 SELECT queue FROM waiting WHERE queue IS NOT NULL"""
"""Queues with ready runs, paused and full ones too: the index is asked for one after the other."""

_SLOT = "SELECT 1 FROM workflow_queue_slots s WHERE s.queue = q.queue AND s.run_id IS"
CLOSED_QUEUES = f"""SELECT q.queue FROM workflow_queues q WHERE q.paused OR (q.concurrency_limit IS NOT NULL
 AND (NOT EXISTS ({_SLOT} NULL AND s.slot <= q.concurrency_limit)
 OR (EXISTS ({_SLOT} NOT NULL AND s.slot > q.concurrency_limit)
 AND q.concurrency_limit <= (SELECT count(*) FROM ({_SLOT} NOT NULL) held))))"""
"""Queues that are paused or have no slot left; ``*`` among them stands for all.

Slots in use beyond a limit that was lowered count: only then are they all counted.
"""


def claimable(connection: sa.Connection, codes: Sequence[str], rules: LaneRules) -> bool:
    """Say whether a claim would find runs of these workflows, in some queue that is open."""
    closed = set(connection.exec_driver_sql(CLOSED_QUEUES).scalars())
    if "*" in closed:
        return False
    opened = [queue for queue in connection.exec_driver_sql(WAITING_QUEUES).scalars() if queue not in closed]
    if anything(connection, rules, Open(frozenset(codes), None, closed)):
        return True
    known = sa.literal_column(CODE).in_(list(codes))
    ready = sa.select(sa.literal(1)).where(sa.text(READY), workflow_runs.c.queue.in_(opened), known).limit(1)
    return bool(opened) and connection.execute(ready).first() is not None
