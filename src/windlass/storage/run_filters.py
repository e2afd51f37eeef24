"""Conditions on runs that both lists of them know: what fails, how often it was tried, what it waits for.

And the order of their creation over several statuses, which an index gives for each of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from windlass.engine.types import Sight, Status
from windlass.storage.schema import FAILED_ONCE, FAILING, workflow_runs
from windlass.storage.waits import waiting_for

STATUSES = tuple(sorted(status.value for status in Status))


def merged(
    statement: sa.Select[Any], statuses: Iterable[str], limit: int, *, offset: int = 0, descending: bool = True
) -> sa.Select[Any]:
    """Return a page of a query of runs in the order of their creation: that many of each status, put together.

    ``ix_workflow_runs_list`` holds the runs of one status in this order; over several it would have to sort them all.

    Args:
        statement: selects columns of runs, ``created_at`` and ``run_id`` among them, without order and limit.
        statuses: which; none is all.
        limit: how many.
        offset: how many are left out before.
        descending: newest first.
    """
    runs = workflow_runs.c
    wanted = sorted(set(statuses)) or STATUSES

    def sliced(page: sa.Select[Any], at: sa.ColumnElement[Any], run_id: sa.ColumnElement[Any]) -> sa.Select[Any]:
        return page.order_by(*((at.desc(), run_id.desc()) if descending else (at, run_id)))

    if len(wanted) == 1:
        page = sliced(statement.where(runs.status == wanted[0]), runs.created_at, runs.run_id)
        return page.limit(limit).offset(offset)
    parts = [sliced(statement.where(runs.status == status), runs.created_at, runs.run_id) for status in wanted]
    union = sa.union_all(*(sa.select(part.limit(limit + offset).subquery()) for part in parts)).subquery()
    return sliced(sa.select(union), union.c.created_at, union.c.run_id).limit(limit).offset(offset)


def narrowed(
    statement: sa.Select[Any],
    *,
    failing: bool,
    attempt_gte: int | None,
    waiting_on: str | None,
    error_class: str | None,
) -> sa.Select[Any]:
    """Return a query of runs with the conditions that are asked for; see ``engine.types.RunFilter``.

    Those on attempts are written as the partial indexes have them, so that both databases see that they fit.
    """
    runs = workflow_runs.c
    if failing:
        statement = statement.where(sa.text(FAILING))
    elif attempt_gte is not None:
        statement = statement.where(sa.text(FAILED_ONCE))
    if attempt_gte is not None:
        statement = statement.where(runs.failed_attempts >= attempt_gte)
    if waiting_on is not None:
        statement = statement.where(waiting_for(waiting_on).condition())
    if error_class is not None:
        message = runs.error.op("->>", return_type=sa.Text())(sa.literal("message", sa.Text()))
        statement = statement.where(runs.status == "failed", message.startswith(error_class, autoescape=True))
    return statement


def seen(sight: Sight) -> sa.ColumnElement[bool]:
    """Return the condition on runs that somebody may look at."""
    runs = workflow_runs.c
    open_to_all = runs.name.not_in(sight.closed)
    if sight.tenant is None:
        return sa.and_(runs.tenant_id.in_(sight.tenants), open_to_all)
    own = runs.tenant_id == sight.tenant
    if sight.owner is not None:
        own = sa.and_(own, runs.user_id == sight.owner)
    return sa.and_(runs.tenant_id.in_(sight.tenants), sa.or_(open_to_all, own))
