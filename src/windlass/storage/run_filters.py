"""Conditions on runs that both lists of them know: what fails, how often it was tried, what it waits for."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from windlass.engine.types import Sight
from windlass.storage.schema import FAILED_ONCE, FAILING, workflow_runs
from windlass.storage.waits import waiting_for


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
