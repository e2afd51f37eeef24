"""Queues as operators see and change them."""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa

from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.kernel.checks import check_limit, check_name
from windlass.kernel.errors import Invalid
from windlass.storage.schema import workflow_queues, workflow_runs

OVERALL = "*"
"""The name of the limit over all queues together."""
OPEN = ("queued", "running", "paused", "waiting_human", "waiting_approval")


class QueueView(NamedTuple):
    """A queue: its limit over all processes (None: none), and its open runs: being worked on, ready, all of them."""

    queue: str
    limit: int | None
    paused: bool
    running: int
    ready: int
    open: int


class Drained(NamedTuple):
    """A queue that takes no run any more: how many runs of it are still worked on, and whether that is none."""

    queue: str
    paused: bool
    running: int
    drained: bool


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


async def change_queue(engine: Engine, queue: str, changes: dict[str, Any]) -> QueueView:
    """Change a queue's ``limit`` (None: none) or whether it is ``paused``, and return it as it is then.

    Raises:
        Invalid: the name is none, or the limit is below 1 or too high.
    """
    name = _named(queue)
    check_limit(changes.get("limit"))

    def change(tx: Transaction) -> None:
        columns = workflow_queues.c
        known = sa.select(columns.concurrency_limit, columns.paused).where(columns.queue == name)
        limit, paused = tx.connection.execute(known).first() or (None, False)
        tx.set_queue(name, changes.get("limit", limit), bool(changes.get("paused", paused)))

    await engine.transact(change)
    engine.worker.ring_claims()
    return next(view for view in await engine.read(queues) if view.queue == name)


async def drain_queue(engine: Engine, queue: str) -> Drained:
    """Pause a queue and say how many of its runs are still worked on; ask again until it is drained.

    Nothing of it is claimed any more. A run that is being worked on goes on to its end, or until it waits for
    something: then it is put aside like every other run that waits. The queue stays paused.

    Raises:
        Invalid: the name is none.
    """
    name = _named(queue)
    if not await engine.read(lambda connection: is_paused(connection, name)):
        await change_queue(engine, name, {"paused": True})
    running = await engine.read(lambda connection: held(connection, name))
    return Drained(name, True, running, running == 0)


def is_paused(connection: sa.Connection, queue: str) -> bool:
    """Say whether no run of a queue is claimed."""
    return bool(
        connection.execute(sa.select(workflow_queues.c.paused).where(workflow_queues.c.queue == queue)).scalar()
    )


def held(connection: sa.Connection, queue: str) -> int:
    """Return how many runs of a queue are being worked on; there are never more than processes have room for."""
    runs = workflow_runs.c
    query = sa.select(sa.func.count()).where(sa.text("holder IS NOT NULL"))
    if queue != OVERALL:
        query = query.where(runs.queue == queue)
    return int(connection.execute(query.select_from(workflow_runs)).scalar_one())


def _named(queue: str) -> str:
    try:
        return queue if queue == OVERALL else check_name(queue)
    except ValueError as error:
        raise Invalid(str(error), field="queue") from None
