"""How many runs wait for what reason: the answer of ``explain`` for every open run, at a bounded cost.

Runs that differ in nothing that ``explain`` looks at are counted together, and one of them is explained. Only where the
journal decides (runs that are held, runs asleep after an attempt that failed) each is explained by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from windlass.engine.engine import Engine
from windlass.engine.types import TERMINAL, Status
from windlass.kernel.lanes import LaneRules
from windlass.storage.explain import explain, presumed_dead
from windlass.storage.run_filters import kinds, of_kind, page
from windlass.storage.schema import workflow_runs

MOST_COUNTED = 20_000
"""How many runs of each status are counted at most, oldest first."""
MOST_READ = 200
"""How many runs are explained by their own journals."""
MOST_KINDS = 500
UNREAD = "unread"
"""The reason given for runs beyond those that are looked into."""
OPEN = [status.value for status in Status if status not in TERMINAL]

_runs = workflow_runs.c
_BY_JOURNAL = sa.or_(
    _runs.holder.is_not(None), sa.and_(_runs.wait_reason == "timer", _runs.failed_attempts.is_not(None))
)


def _kinds(connection: sa.Connection, status: str, now: int) -> sa.Select[Any]:
    """Return a query of what ``explain`` tells runs apart by, with the number of runs and one of them."""
    due = sa.or_(_runs.ready_at.is_not(None), _runs.wake_at <= now)
    told = {
        "why": sa.case((_runs.status_reason.in_(["poisoned", "secret_missing"]), _runs.status_reason)),
        "wait": sa.case(
            (_runs.wait_reason.startswith("signal:"), "signal"),
            (_runs.wait_reason.startswith("update:"), "update"),
            (_runs.wait_reason.startswith("child:"), "child"),
            (_runs.wait_reason.endswith(" things"), "several"),
            else_=_runs.wait_reason,
        ),
        "begun": _runs.started_at.is_not(None),
        "timed": _runs.wake_at.is_not(None),
        "due": sa.func.coalesce(due, False),
        "queue": sa.case((due, _runs.queue)),
        "name": sa.case((due, _runs.name)),
        "lane": sa.case((due, _runs.lane)),
    }
    columns = [column.label(label) for label, column in told.items()]
    by_journal = sa.case((_BY_JOURNAL, True), else_=False).label("by_journal")
    slices = [of_kind(*kind) for kind in kinds(connection, (status,))]
    some = page([*columns, by_journal, _runs.run_id], (), slices, MOST_COUNTED, descending=False).subquery()
    return (
        sa.select(sa.func.count(), sa.func.min(some.c.run_id), some.c.by_journal)
        .group_by(*(some.c[label] for label in told), some.c.by_journal)
        .limit(MOST_KINDS)
    )


def waiting_reasons(
    connection: sa.Connection,
    dead: Collection[str],
    now: int,
    rules: LaneRules = LaneRules(),  # noqa: B008
) -> dict[str, int]:
    """Return how many open runs ``explain`` gives each reason for.

    Args:
        connection: where to ask.
        dead: holders known to be dead although their lease says live.
        now: microseconds.
        rules: limits where nobody has set one.
    """
    found: Counter[str] = Counter()
    unread = 0
    for status in OPEN:
        for count, example, by_journal in connection.execute(_kinds(connection, status, now)):
            if by_journal:
                unread += count
            else:
                found[_reason(connection, example, dead, now, rules)] += count
    if unread:
        journals = sa.select(_runs.run_id).where(_BY_JOURNAL, _runs.status.in_(OPEN)).limit(MOST_READ)
        read = [*connection.execute(journals).scalars()]
        for run_id in read:
            found[_reason(connection, run_id, dead, now, rules)] += 1
        found[UNREAD] += max(0, unread - len(read))
    return {reason: count for reason, count in sorted(found.items()) if count}


def _reason(connection: sa.Connection, run_id: str, dead: Collection[str], now: int, rules: LaneRules) -> str:
    explained = explain(connection, run_id, dead, now, rules)
    return UNREAD if explained is None else explained.reason


async def count_reasons(engine: Engine) -> dict[str, int]:
    """Return how many open runs of an engine's database wait for each reason."""
    now, dead = engine.clock.now(), await presumed_dead(engine)
    return await engine.read(lambda connection: waiting_reasons(connection, dead, now, engine.lanes))
