"""Lists of one workflow's runs by tenant, owner and what they carry out: pages by key, in either direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from windlass.engine.types import RunView
from windlass.storage.queries import views
from windlass.storage.run_filters import (
    Condition,
    in_trouble,
    narrowed,
    not_by_index,
    of_somebody,
    page,
    possible,
    with_error,
)
from windlass.storage.schema import workflow_runs
from windlass.storage.snapshots import one_moment

ORDERS = ("created_at", "started_at", "ended_at")
_LARGE = frozenset({"inputs_json", "outputs_json"})
_LISTED = [sa.null().label(column.name) if column.name in _LARGE else column for column in workflow_runs.c]


class RunQuery(NamedTuple):
    """Which runs, in which order.

    ``after`` is the value of the order's column and the id of the last run seen; times are ISO 8601 text.
    The other conditions are those of ``engine.types.RunFilter``.
    """

    name: str
    tenant_id: str
    owner: str | None = None
    workflow_id: int | None = None
    statuses: tuple[str, ...] = ()
    created_after: str | None = None
    created_before: str | None = None
    failing: bool = False
    attempt_gte: int | None = None
    waiting_on: str | None = None
    error_class: str | None = None
    order_by: str = "created_at"
    descending: bool = True
    after: tuple[str | None, str] | None = None
    offset: int = 0
    limit: int = 50


def list_page(connection: sa.Connection, query: RunQuery) -> list[RunView]:
    """Return a page of runs without their inputs and outputs, which may be large."""
    runs = workflow_runs.c
    column = runs[query.order_by]
    conditions = _conditions(query)
    if query.order_by != "created_at":
        conditions.append(column.is_not(None))
    if query.after is not None:
        at, run_id = query.after
        row = sa.tuple_(column, runs.run_id)
        last = sa.tuple_(sa.literal(at, column.type), sa.literal(run_id, runs.run_id.type))
        conditions.append(row < last if query.descending else row > last)
    with one_moment(connection):
        statement = _page(connection, _LISTED, conditions, query)
        return views(connection, connection.execute(statement).mappings())


def matching(connection: sa.Connection, query: RunQuery) -> list[tuple[str, str]]:
    """Return the ids and statuses of up to ``limit`` runs that match, oldest first."""
    runs = workflow_runs.c
    oldest = query._replace(order_by="created_at", descending=False, offset=0)
    with one_moment(connection):
        statement = _page(connection, [runs.run_id, runs.status], _conditions(oldest), oldest)
        return [(row.run_id, row.status) for row in connection.execute(statement)]


def _page(
    connection: sa.Connection, columns: Sequence[sa.ColumnElement[Any]], conditions: list[Condition], query: RunQuery
) -> sa.Select[Any]:
    if _in_trouble(query):
        slices = in_trouble(connection, None if query.failing else query.attempt_gte, [query.tenant_id])
    else:
        slices = [
            of_somebody(status, query.name, query.tenant_id, query.owner, query.workflow_id)
            for status in possible(query.statuses, query.waiting_on, query.error_class)
        ]
        if query.error_class is not None and query.order_by == "created_at" and query.workflow_id is None:
            slices = [one for whole in slices for one in with_error(connection, query.error_class, whole)]
    by, offset = query.order_by, query.offset
    return page(columns, conditions, slices, query.limit, offset=offset, descending=query.descending, by=by)


def _in_trouble(query: RunQuery) -> bool:
    """Say whether a query is for runs that are few, and have indexes of their own."""
    return query.failing or query.attempt_gte is not None


def _conditions(query: RunQuery) -> list[Condition]:
    """Return the conditions that no slice has."""
    runs = workflow_runs.c
    found: list[Condition] = []
    if _in_trouble(query):
        found.append(not_by_index(runs.name) == query.name)
        for column, value in ((runs.user_id, query.owner), (runs.workflow_id, query.workflow_id)):
            if value is not None:
                found.append(not_by_index(column) == value)
        if query.statuses:
            found.append(not_by_index(runs.status).in_(query.statuses))
    if query.created_after is not None:
        found.append(runs.created_at >= query.created_after)
    if query.created_before is not None:
        found.append(runs.created_at <= query.created_before)
    return found + narrowed(
        failing=query.failing,
        attempt_gte=query.attempt_gte,
        waiting_on=query.waiting_on,
        error_class=query.error_class,
    )
