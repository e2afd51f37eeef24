"""How the engine is doing, as operators ask: its processes, and what waits for them."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import sqlalchemy as sa

from windlass.kernel.clock import SECOND
from windlass.storage.schema import workflow_leases, workflow_runs

OPEN = ("queued", "running", "paused", "waiting_human", "waiting_approval")


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
