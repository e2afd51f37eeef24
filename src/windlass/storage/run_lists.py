"""Lists of one workflow's runs by tenant, owner and what they carry out: pages by key, in either direction."""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa

from windlass.engine.types import RunView
from windlass.storage.queries import views
from windlass.storage.run_filters import merged, narrowed
from windlass.storage.schema import workflow_runs

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
    statement = _matching(sa.select(*_LISTED), query)
    if query.order_by != "created_at":
        statement = statement.where(column.is_not(None))
    if query.after is not None:
        at, run_id = query.after
        row = sa.tuple_(column, runs.run_id)
        last = sa.tuple_(sa.literal(at, column.type), sa.literal(run_id, runs.run_id.type))
        statement = statement.where(row < last if query.descending else row > last)
    if _by_status(query):
        statement = merged(statement, query.statuses, query.limit, offset=query.offset, descending=query.descending)
    else:
        order = (column.desc(), runs.run_id.desc()) if query.descending else (column, runs.run_id)
        statement = statement.order_by(*order).limit(query.limit).offset(query.offset)
    return views(connection, connection.execute(statement).mappings())


def matching(connection: sa.Connection, query: RunQuery) -> list[tuple[str, str]]:
    """Return the ids and statuses of up to ``limit`` runs that match, oldest first."""
    runs = workflow_runs.c
    statement = _matching(sa.select(runs.run_id, runs.status, runs.created_at), query)
    if _by_status(query):
        statement = merged(statement, query.statuses, query.limit, descending=False)
    else:
        statement = statement.order_by(runs.created_at, runs.run_id).limit(query.limit)
    return [(row.run_id, row.status) for row in connection.execute(statement)]


def _by_status(query: RunQuery) -> bool:
    """Say whether no index but the one that begins with the status gives the order of creation."""
    few = query.failing or query.attempt_gte is not None
    return query.order_by == "created_at" and query.owner is None and query.workflow_id is None and not few


def _matching(statement: sa.Select[Any], query: RunQuery) -> sa.Select[Any]:
    runs = workflow_runs.c
    few = query.failing or query.attempt_gte is not None
    statement = statement.where(runs.name == query.name, runs.tenant_id == query.tenant_id)
    for column, value in ((runs.user_id, query.owner), (runs.workflow_id, query.workflow_id)):
        if value is not None:
            statement = statement.where((_not_by_index(column) if few else column) == value)
    if query.statuses and not _by_status(query):
        statement = statement.where((_not_by_index(runs.status) if few else runs.status).in_(query.statuses))
    if query.created_after is not None:
        statement = statement.where(runs.created_at >= query.created_after)
    if query.created_before is not None:
        statement = statement.where(runs.created_at <= query.created_before)
    return narrowed(
        statement,
        failing=query.failing,
        attempt_gte=query.attempt_gte,
        waiting_on=query.waiting_on,
        error_class=query.error_class,
    )


def _not_by_index(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """Return a column that no index is searched by: runs in trouble are few, and have indexes of their own.

    SQLite keeps no figures on what is in a table, and would take the index in which most columns are named.
    """
    return sa.func.coalesce(column, column)
