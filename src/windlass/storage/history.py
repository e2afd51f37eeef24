"""From which event on a run's journal is whole.

A run's row says so, or 0: then events were deleted by hand and the journal itself is asked. SQLite has no trigger for a
whole statement, and writing the row once for each deleted event would write its outputs as often.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from windlass.storage.schema import workflow_events, workflow_runs

ASK = 0
"""What a row says whose journal has to be asked."""


def whole_from(connection: sa.Connection, runs: Mapping[str, int]) -> dict[str, int]:
    """Return the number from which on journals are whole.

    Args:
        connection: where to ask.
        runs: the number of each run's last event.
    """
    if not runs:
        return {}
    event, before = workflow_events.alias("event"), workflow_events.alias("before")
    follows = sa.exists().where(before.c.run_id == event.c.run_id, before.c.event_seq == event.c.event_seq - 1)
    query = (
        sa.select(event.c.run_id, sa.func.max(event.c.event_seq).filter(~follows), sa.func.max(event.c.event_seq))
        .where(event.c.run_id.in_(sorted(runs)))
        .group_by(event.c.run_id)
    )
    found = {run_id: (begins, last) for run_id, begins, last in connection.execute(query)}
    return {
        run_id: found[run_id][0] if run_id in found and found[run_id][1] >= last else last + 1
        for run_id, last in runs.items()
    }


def settle(connection: sa.Connection, run_ids: Iterable[str]) -> None:
    """Write into the rows of runs what their journals say, where they have to be asked."""
    c = workflow_runs.c
    asked = connection.execute(
        sa.select(c.run_id, c.last_seq).where(c.run_id.in_(sorted(run_ids)), c.history_from_seq == ASK)
    )
    for run_id, begins in whole_from(connection, {row.run_id: row.last_seq for row in asked}).items():
        connection.execute(sa.update(workflow_runs).where(c.run_id == run_id).values(history_from_seq=begins))
