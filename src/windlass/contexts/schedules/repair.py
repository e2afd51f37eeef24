"""Looking for schedules that wait for nothing: a tick that somebody cancelled, or that failed, ends its chain."""

from __future__ import annotations

from functools import partial

import sqlalchemy as sa

from windlass.contexts.schedules import runs, store
from windlass.contexts.schedules.firing import Firing
from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.kernel.clock import SECOND

PAGE = 500
LATE = 60 * SECOND
"""A slot that came longer ago than this, and was not dealt with, is worth a look."""


async def repair(engine: Engine, firing: Firing, overdue: int | None) -> int:
    """Give schedules that need it a run that waits for their next slot; returns how many needed it.

    Args:
        engine: reads and writes.
        firing: makes the runs.
        overdue: look only at those whose next slot came before this moment; None looks at all that are enabled.
    """
    after, repaired = "", 0
    while True:

        def look(connection: sa.Connection, after: str = after) -> tuple[list[str], str | None]:
            found = store.page_enabled(connection, after, PAGE, overdue)
            alive = runs.going(connection, [run for row in found for run in row[1:] if run is not None])
            lost = [row[0] for row in found if not _all_going(row[1:], alive)]
            return lost, found[-1][0] if len(found) == PAGE else None

        lost, more = await engine.read(look)
        for schedule_id in lost:
            repaired += await engine.transact(partial(mend, firing, schedule_id))
        if more is None:
            return repaired
        after = more


def _all_going(wanted: tuple[str | None, str | None], alive: set[str]) -> bool:
    tick, drain = wanted
    return tick in alive and (drain is None or drain in alive)


def mend(firing: Firing, schedule_id: str, tx: Transaction) -> bool:
    """Put what is missing in its place, if it still is when the schedule is locked."""
    schedule = store.get(tx.connection, schedule_id, lock=True)
    if schedule is None or not schedule.enabled:
        return False
    wanted = schedule.tick_run_id, schedule.drain_run_id
    alive = runs.going(tx.connection, [run for run in wanted if run is not None])
    if _all_going(wanted, alive):
        return False
    if schedule.tick_run_id not in alive:
        firing.rearm(tx, schedule, "the schedule was given another")
    if schedule.drain_run_id is not None and schedule.drain_run_id not in alive:
        runs.cancel(tx, schedule.drain_run_id, "the schedule was given another", firing.clock.now())
        schedule.drain_run_id = None
        firing.wait(tx, schedule, 0)
    store.write(tx, schedule)
    return True
