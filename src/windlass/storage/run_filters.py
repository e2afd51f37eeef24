"""Conditions on runs that both lists of them know, and the order of their creation over several statuses.

What fails, how often it was tried, what it waits for. An index gives runs of one status and one name, or one owner, in
order: a page is put together from such slices, each of which is read no further than the page is long.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from windlass.engine.types import TERMINAL, Sight, Status
from windlass.storage.schema import (
    ASIDE,
    ERROR_CLASS,
    FAILED,
    FAILED_ONCE,
    FAILING,
    OF_SOMEBODY,
    USUAL_QUEUE,
    workflow_runs,
)
from windlass.storage.waits import waiting_for

Condition = sa.ColumnElement[bool]
STATUSES = tuple(sorted(status.value for status in Status))
OPEN = tuple(status for status in STATUSES if status not in TERMINAL)
_MOST_PARTS = 200
"""Of a UNION; SQLite takes 500."""
CLASS_LENGTH = 40
"""Of ``ERROR_CLASS``."""
_class: sa.ColumnElement[str] = sa.literal_column(ERROR_CLASS, sa.Text())
_KINDS = """WITH RECURSIVE kinds (status, name) AS (
 SELECT status, (SELECT min(r.name) FROM workflow_runs r WHERE r.status = wanted.status) FROM ({wanted}) wanted
 UNION ALL
 SELECT kinds.status, (SELECT min(r.name) FROM workflow_runs r WHERE r.status = kinds.status AND r.name > kinds.name)
 FROM kinds WHERE kinds.name IS NOT NULL
) SELECT status, name FROM kinds WHERE name IS NOT NULL"""


def kinds(connection: sa.Connection, statuses: Iterable[str]) -> list[tuple[str, str]]:
    """Return the statuses, of those that are asked for, and names of workflows for which there are runs.

    The index on them is stepped through: a look for each, however many runs there are.
    """
    wanted = " UNION ALL ".join(f"SELECT '{status}' AS status" for status in statuses if status in STATUSES)
    if not wanted:
        return []
    rows = connection.execute(sa.text(_KINDS.format(wanted=wanted)))
    return [(row[0], row[1]) for row in rows]


def page(
    columns: Sequence[sa.ColumnElement[Any]],
    conditions: Sequence[Condition],
    slices: Sequence[Condition],
    limit: int,
    *,
    offset: int = 0,
    descending: bool = True,
    by: str = "created_at",
) -> sa.Select[Any]:
    """Return a query of a page of runs in the order of a time: that many of each slice, put together.

    Args:
        columns: of ``workflow_runs``, what is wanted.
        conditions: which runs.
        slices: conditions of which every run fulfils one at most, and which an index gives in this order.
        limit: how many.
        offset: how many are left out before.
        descending: newest first.
        by: the column of the time.
    """
    at, run_id = workflow_runs.c[by], workflow_runs.c.run_id

    def sliced(some: sa.Select[Any], time: sa.ColumnElement[Any], tie: sa.ColumnElement[Any]) -> sa.Select[Any]:
        return some.order_by(*((time.desc(), tie.desc()) if descending else (time, tie)))

    found = sa.select(at.label("at"), run_id.label("run_id")).where(*conditions)
    most = _written(limit + offset)
    parts = [sliced(found.where(one), at, run_id).limit(most).subquery() for one in slices or [sa.false()]]
    groups = [_union(parts[begin : begin + _MOST_PARTS]) for begin in range(0, len(parts), _MOST_PARTS)]
    ids = groups[0] if len(groups) == 1 else _union(groups)
    chosen = sliced(sa.select(ids), ids.c.at, ids.c.run_id).limit(_written(limit)).offset(offset).subquery()
    return sliced(
        sa.select(*columns).select_from(chosen).join(workflow_runs, run_id == chosen.c.run_id),
        chosen.c.at,
        chosen.c.run_id,
    )


def _written(number: int) -> sa.ColumnElement[int]:
    """Return a number that stands in the statement itself.

    PostgreSQL keeps the plan of a page for whatever parameters come. Without a limit that it knows it would expect a
    tenth of all runs in a page, and might rather sort them than follow an index.
    """
    return sa.bindparam(None, number, sa.Integer(), unique=True, literal_execute=True)


def _union(parts: Sequence[sa.Subquery]) -> sa.Subquery:
    return sa.union_all(*(sa.select(part) for part in parts)).subquery()


def of_kind(status: str, name: str) -> Condition:
    """Return the slice of the runs of a workflow that are in a status: ``ix_workflow_runs_list``."""
    return sa.and_(workflow_runs.c.status == status, workflow_runs.c.name == name)


def of_somebody(status: str, name: str, tenant: str, owner: str | None, workflow_id: int | None = None) -> Condition:
    """Return the slice of the runs, in a status, of a workflow whose runs only some may see.

    Args:
        status: theirs.
        name: one of ``schema.CLOSED``.
        tenant: whose they are.
        owner: whose they are; None is everybody's.
        workflow_id: of which definition; None is all.
    """
    runs = workflow_runs.c
    found: list[Any] = [sa.text(OF_SOMEBODY), runs.tenant_id == tenant, runs.name == name, runs.status == status]
    if owner is not None:
        found.append(runs.user_id == owner)
    if workflow_id is not None:
        found.append(runs.workflow_id == workflow_id)
    return sa.and_(*found)


def with_error(connection: sa.Connection, begins: str, one: Condition) -> list[Condition]:
    """Return slices of the failed runs of a slice whose error begins with a text: one for each class of errors.

    The index on these is stepped through. Where errors are of very many classes, it is the whole slice: many fit.

    Args:
        connection: where to ask.
        begins: how the errors begin.
        one: a slice of failed runs.
    """
    whole: Condition = sa.and_(one, sa.text(FAILED))
    if len(begins) >= CLASS_LENGTH:
        return [sa.and_(whole, _class == begins[:CLASS_LENGTH])]
    classes = stepped(connection, _class, whole, most=_MOST_PARTS + 1)
    if len(classes) > _MOST_PARTS:
        return [whole]
    return [sa.and_(whole, _class == found) for found in classes if found.startswith(begins)]


def in_trouble(connection: sa.Connection, least: int | None, tenants: Sequence[str] | None) -> list[Condition]:
    """Return the slices of the runs in trouble: of each tenant, and of each number of failed attempts.

    Where there are very many of these, one slice is all of them: a page is sorted from it.

    Args:
        connection: where to ask.
        least: how many attempts have failed; None is of open runs, whatever the number.
        tenants: whose runs; None is everybody's.
    """
    runs = workflow_runs.c
    chosen: Condition = sa.and_(sa.text(FAILING if least is None else FAILED_ONCE))
    whose = tenants if tenants is not None else stepped(connection, runs.tenant_id, chosen, most=_MOST_PARTS + 1)
    if len(whose) > _MOST_PARTS:
        return [chosen]
    ours = [sa.and_(chosen, runs.tenant_id == tenant) for tenant in whose]
    if least is None:
        return ours
    slices: list[Condition] = []
    for one in ours:
        numbers = stepped(connection, runs.failed_attempts, one, above=least - 1, most=_MOST_PARTS + 1)
        few = len(numbers) <= _MOST_PARTS
        slices += [sa.and_(one, runs.failed_attempts == number) for number in numbers] if few else [one]
    return slices


def stepped(
    connection: sa.Connection, column: sa.ColumnElement[Any], condition: Any, *, most: int, above: Any = None
) -> list[Any]:
    """Return the values of a column, in order, of runs for which a condition holds: a look into an index for each.

    Args:
        connection: where to ask.
        column: an index gives its values in order.
        condition: what has to hold.
        most: how many values are looked for.
        above: only values above this; None is all.
    """
    values = sa.select(column).where(condition).order_by(column).limit(1)
    first = (values if above is None else values.where(column > above)).scalar_subquery()
    found = sa.select(first.label("value")).cte("found", recursive=True)
    following = values.where(column > found.c.value)
    found = found.union_all(sa.select(following.correlate(found).scalar_subquery()).where(found.c.value.is_not(None)))
    asked = sa.select(found.c.value).where(found.c.value.is_not(None)).limit(most)
    return [*connection.execute(asked).scalars()]


def possible(statuses: Iterable[str], waiting_on: str | None, error_class: str | None) -> list[str]:
    """Return the statuses, of those that are asked for, that runs with such a wait or such an error can have."""
    wanted = set(statuses) or set(STATUSES)
    if error_class is not None:
        wanted &= {Status.FAILED.value}
    if waiting_on is not None:
        status = waiting_for(waiting_on).status
        wanted &= set(OPEN if status is None else (status,))
    return sorted(wanted)


def in_queue(queue: str) -> list[Condition]:
    """Return the conditions on runs that are in a queue."""
    found: list[Any] = [workflow_runs.c.queue == queue]
    if queue != USUAL_QUEUE:
        found.append(sa.text(ASIDE))
    return found


def narrowed(
    *, failing: bool, attempt_gte: int | None, waiting_on: str | None, error_class: str | None
) -> list[Condition]:
    """Return the conditions on runs that are asked for; see ``engine.types.RunFilter``.

    Those on attempts are written as the partial indexes have them, so that both databases see that they fit.
    """
    runs = workflow_runs.c
    found: list[Any] = []
    if failing:
        found.append(sa.text(FAILING))
    elif attempt_gte is not None:
        found.append(sa.text(FAILED_ONCE))
    if attempt_gte is not None:
        found.append(runs.failed_attempts >= attempt_gte)
    if waiting_on is not None:
        found.append(waiting_for(waiting_on).condition())
    if error_class is not None:
        message = runs.error.op("->>", return_type=sa.Text())(sa.literal("message", sa.Text()))
        found += [runs.status == "failed", message.startswith(error_class, autoescape=True)]
    return found


def seen(sight: Sight) -> Condition:
    """Return the condition on runs that somebody may look at."""
    runs = workflow_runs.c
    open_to_all = runs.name.not_in(sight.closed)
    if sight.tenant is None:
        return sa.and_(runs.tenant_id.in_(sight.tenants), open_to_all)
    own = runs.tenant_id == sight.tenant
    if sight.owner is not None:
        own = sa.and_(own, runs.user_id == sight.owner)
    return sa.and_(runs.tenant_id.in_(sight.tenants), sa.or_(open_to_all, own))


def not_by_index(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """Return a column that no index is searched by.

    SQLite keeps no figures on what is in a table, and would take the index in which most columns are named.
    """
    return sa.func.coalesce(column, column)
