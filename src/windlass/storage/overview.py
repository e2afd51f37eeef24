"""How the engine is doing, as operators ask: its processes, and what waits for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

import sqlalchemy as sa

from windlass.kernel.clock import SECOND
from windlass.kernel.versions import parts_of, rank_of
from windlass.storage.schema import CODE, workflow_leases, workflow_runs

OPEN = ("queued", "running", "paused", "waiting_human", "waiting_approval")


class ReadyRuns(NamedTuple):
    """Runs of a version of a workflow that wait for a process to take them, the longest for ``oldest_seconds``.

    ``name`` is ``order``, or ``order@2`` for a later version; see ``kernel.versions``.
    """

    name: str
    number: int
    oldest_seconds: float


class ProcessView(NamedTuple):
    """A process with a live lease, and what it carries out: names of workflows, ``order@2`` for a later version."""

    holder: str
    host: str
    pid: int
    workflows: tuple[str, ...]


def ready_runs(connection: sa.Connection, now: int) -> list[ReadyRuns]:
    """Return what waits for a process at ``now`` (microseconds), by workflow: what is ready, or whose time has come."""
    runs = workflow_runs.c
    due = sa.and_(runs.wake_at <= now, runs.status.not_in(["paused"]))
    since = sa.func.coalesce(runs.ready_at, runs.wake_at)
    code: sa.ColumnElement[str] = sa.literal_column(f"({CODE})")
    waiting = sa.select(code, sa.func.count(), sa.func.min(since)).where(
        runs.status.in_(OPEN), runs.holder.is_(None), sa.or_(runs.ready_at.is_not(None), due)
    )
    rows = connection.execute(waiting.group_by(code).order_by(code))
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


def versions_of(name: str, live: Iterable[ProcessView]) -> list[str]:
    """Return the versions of a workflow that live processes carry out, in order."""
    known = {parts_of(code) for process in live for code in process.workflows}
    return sorted((version for found, version in known if found == name), key=rank_of)
