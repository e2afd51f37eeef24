"""Lists of records: every page is read in the order of an index, whatever is filtered and sorted by.

Who filters by no status reads the three statuses side by side and merges them, so the indexes that begin with the
status serve every list. Ties are broken by creation time and id, which are one order (see ``stamps``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from windlass.contexts.records import rows
from windlass.contexts.records.model import Record, Status
from windlass.contexts.records.tables import records
from windlass.storage.cursors import pack, refused, unpack

SORTS = ("created_at", "status", "category", "source")
DEFAULT_LIMIT = 50
MAX_LIMIT = 200
COUNT_BOUND = 10_000


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records; times are ISO 8601 text in UTC with microseconds, both ends included."""

    status: str | None = None
    category: str | None = None
    source: str | None = None
    created_after: str | None = None
    created_before: str | None = None


class Position(NamedTuple):
    """Where a page ended: the last record's value of the sort column, its creation time and id."""

    value: str
    created_at: str
    id: str


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A page of records: ``offset`` counts from the beginning, or from ``after`` when that is given."""

    filter: Filter = Filter()
    sort_by: str = "created_at"
    descending: bool = True
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    after: Position | None = None

    @property
    def mark(self) -> str:
        """Return what tells this query from others, for its cursors."""
        told = orjson.dumps([self.filter, self.sort_by, self.descending])
        return hashlib.blake2b(told, digest_size=6).hexdigest()

    def cursor(self, last: Record) -> str:
        """Return the cursor of the page that follows ``last``."""
        parts = [self.mark, getattr(last, self.sort_by), last.created_at, last.id]
        return pack(parts)

    def resume(self, cursor: str) -> ListQuery:
        """Return the query that goes on where a cursor was made.

        Raises:
            ValidationFailed: it is no cursor, or one of a query with other filters or another order.
        """
        mark, position = unpack(cursor, _marked)
        if mark != self.mark:
            raise refused("The cursor belongs to a list with other filters or another order")
        return replace(self, after=position)


def _marked(told: Any) -> tuple[Any, Position]:
    mark, value, created_at, record_id = told
    return mark, Position(str(value), str(created_at), str(record_id))


def page(connection: sa.Connection, query: ListQuery) -> tuple[list[Record], str | None]:
    """Return a page and, when more follows, the cursor to it."""
    keys = _keys(query, _is_narrow(connection, query))
    order = [_directed(keys.c[name], query.descending) for name in _order(query)]
    chosen = sa.select(keys.c.id).order_by(*order).limit(query.limit + 1).offset(query.offset).subquery("chosen")
    statement = (
        sa.select(*rows.columns(rows.is_postgres(connection)))
        .join(chosen, chosen.c.id == records.c.id)
        .order_by(*(_directed(records.c[name], query.descending) for name in _order(query)))
        .limit(query.limit + 1)
    )
    found = [rows.record(row) for row in rows.fetch(connection, statement)]
    more = len(found) > query.limit
    found = found[: query.limit]
    return found, query.cursor(found[-1]) if more and found else None


def count_up_to(connection: sa.Connection, wanted: Filter, bound: int) -> int:
    """Return how many records match, counting no further than ``bound``."""
    branches = [
        narrowed(sa.select(sa.literal(1)), wanted, status).limit(bound).subquery() for status in _statuses(wanted)
    ]
    found = sa.union_all(*(sa.select(branch) for branch in branches)).subquery()
    limited = sa.select(sa.literal(1)).select_from(found).limit(bound).subquery()
    total: int = connection.scalar(sa.select(sa.func.count()).select_from(limited)) or 0
    return total


def _is_narrow(connection: sa.Connection, query: ListQuery) -> bool:
    """Say whether few records are in a span of time that orders nothing."""
    wanted = query.filter
    if _order(query)[0] in {"created_at", "status"} or not (wanted.created_after or wanted.created_before):
        return False
    return count_up_to(connection, wanted, COUNT_BOUND) < COUNT_BOUND


def _statuses(wanted: Filter) -> list[str | None]:
    return [wanted.status] if wanted.status is not None else [status.value for status in Status]


def _order(query: ListQuery) -> tuple[str, ...]:
    """Return the columns that order a page; one that a filter holds fixed orders nothing."""
    fixed = getattr(query.filter, query.sort_by, None) is not None
    return ("created_at", "id") if query.sort_by == "created_at" or fixed else (query.sort_by, "created_at", "id")


def _directed(column: sa.ColumnElement[Any], descending: bool) -> sa.ColumnElement[Any]:
    return column.desc() if descending else column.asc()


def narrowed(statement: sa.Select[Any], wanted: Filter, status: str | None) -> sa.Select[Any]:
    """Return a query of records with the conditions of a filter, for one of the statuses it allows (None: for all)."""
    table = records.c
    for column, value in ((table.status, status), (table.category, wanted.category), (table.source, wanted.source)):
        if value is not None:
            statement = statement.where(column == value)
    if wanted.created_after is not None:
        statement = statement.where(table.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        statement = statement.where(table.created_at <= wanted.created_before)
    return statement


def _keys(query: ListQuery, narrow: bool) -> sa.Subquery:
    """Return the ids and order columns of the page's candidates, from as many indexes as there are statuses.

    ``narrow``: so few records are in the span of time that all of them are candidates; an index in the order asked
    for could hold a million others between them.
    """
    order = _order(query)
    inner = ("created_at", "id") if narrow else tuple(name for name in order if name != "status")
    needed = COUNT_BOUND if narrow else query.offset + query.limit + 1
    branches = []
    for status in _branches(query):
        continues = query.after is not None and (query.sort_by != "status" or status == query.after.value)
        wanted = _without_passed(query) if continues and inner[0] == "created_at" else query.filter
        statement = narrowed(sa.select(*(records.c[name] for name in order)), wanted, status)
        if continues:
            statement = statement.where(_beyond(query, tuple(name for name in order if name != "status")))
        ordered = statement.order_by(*(_directed(records.c[name], query.descending) for name in inner))
        branches.append(sa.select(ordered.limit(needed).subquery()))
    return (branches[0] if len(branches) == 1 else sa.union_all(*branches)).subquery("keys")


def _without_passed(query: ListQuery) -> Filter:
    """Leave out the bound that the cursor has passed: an index seeks to one of them, and should to the cursor."""
    if _order(query)[0] not in {"created_at", "status"}:
        return query.filter
    passed = "created_before" if query.descending else "created_after"
    return replace(query.filter, **{passed: None})


def _branches(query: ListQuery) -> list[str | None]:
    """Return the statuses to read, or None where an index without the status serves."""
    wanted = query.filter
    if wanted.status is None and wanted.source is None and query.sort_by == "created_at":
        return [None]
    if query.sort_by != "status" or query.after is None or wanted.status is not None:
        return _statuses(wanted)
    past = query.after.value
    later = [status.value for status in Status if (status <= past if query.descending else status >= past)]
    return [*later] or [past]


def _beyond(query: ListQuery, order: tuple[str, ...]) -> sa.ColumnElement[bool]:
    """Return the condition that a row comes after the cursor, as one row comparison that an index can seek."""
    assert query.after is not None  # noqa: S101  the caller asked
    values = {query.sort_by: query.after.value, "created_at": query.after.created_at, "id": query.after.id}
    left = sa.tuple_(*(records.c[name] for name in order))
    right = sa.tuple_(*(sa.bindparam(None, values[name], type_=records.c[name].type) for name in order))
    return left < right if query.descending else left > right
