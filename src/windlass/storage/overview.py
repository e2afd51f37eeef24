"""How the engine is doing, as operators ask: its queues, its processes, what waits. Reads only."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import sqlalchemy as sa

from windlass.kernel.clock import SECOND
from windlass.storage.schema import workflow_leases, workflow_queues, workflow_runs

OPEN = ("queued", "running", "paused", "waiting_human", "waiting_approval")


class QueueView(NamedTuple):
    """A queue: its limit over all processes (None: none), and its open runs: being worked on, ready, all of them."""

    queue: str
    limit: int | None
    paused: bool
    running: int
    ready: int
    open: int


class ReadyRuns(NamedTuple):
    """Runs of a workflow that wait for a process to take them, the longest for ``oldest_seconds``."""

    name: str
    number: int
    oldest_seconds: float


class ProcessView(NamedTuple):
    """A process with a live lease, and the names of the workflows it carries out."""

    holder: str
    host: str
    pid: int
    workflows: tuple[str, ...]


def queues(connection: sa.Connection) -> list[QueueView]:
    """Return every queue that has a setting or an open run; ``*`` is the limit over all of them."""
    runs = workflow_runs.c
    held = sa.case((runs.holder.is_not(None), 1), else_=0)
    ready = sa.case((sa.and_(runs.holder.is_(None), runs.ready_at.is_not(None)), 1), else_=0)
    counted = sa.select(runs.queue, sa.func.sum(held), sa.func.sum(ready), sa.func.count())
    counts = {row[0]: row[1:] for row in connection.execute(counted.where(runs.status.in_(OPEN)).group_by(runs.queue))}
    known = {row.queue: row for row in connection.execute(sa.select(workflow_queues))}
    views = []
    for name in sorted({*counts, *known}):
        row = known.get(name)
        sums = counts.get(name, (0, 0, 0))
        if name == "*":
            sums = tuple(sum(column) for column in zip(*counts.values(), strict=True)) or (0, 0, 0)
        limit, paused = (None, False) if row is None else (row.concurrency_limit, bool(row.paused))
        views.append(QueueView(name, limit, paused, *map(int, sums)))
    return views


def ready_runs(connection: sa.Connection, now: int) -> list[ReadyRuns]:
    """Return what waits for a process at ``now`` (microseconds), by workflow: what is ready, or whose time has come."""
    runs = workflow_runs.c
    due = sa.and_(runs.wake_at <= now, runs.status.not_in(["paused"]))
    since = sa.func.coalesce(runs.ready_at, runs.wake_at)
    waiting = sa.select(runs.name, sa.func.count(), sa.func.min(since)).where(
        runs.status.in_(OPEN), runs.holder.is_(None), sa.or_(runs.ready_at.is_not(None), due)
    )
    rows = connection.execute(waiting.group_by(runs.name).order_by(runs.name))
    return [ReadyRuns(name, count, max(0, now - oldest) / SECOND) for name, count, oldest in rows]


def processes(connection: sa.Connection, dead: Collection[str]) -> list[ProcessView]:
    """Return the processes whose lease is live and which are not among the ``dead``, oldest first."""
    leases = workflow_leases.c
    live = sa.select(leases.holder, leases.host, leases.pid, leases.workflows).where(leases.state == "live")
    rows = connection.execute(live.order_by(leases.started_at, leases.holder))
    return [
        ProcessView(holder, host, pid, tuple(name for name in names.split(",") if name))
        for holder, host, pid, names in rows
        if holder not in dead
    ]
