"""Lists of open questions: what waits for somebody, or for anybody of a tenant, oldest first, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from windlass.contexts.people.model import Task, names_of
from windlass.contexts.people.store import QUERY, task
from windlass.contexts.people.tables import decisions, inbox, tasks
from windlass.engine.types import TERMINAL
from windlass.kernel.actors import Actor
from windlass.kernel.clock import from_iso
from windlass.storage.cursors import pack, unpack
from windlass.storage.queries import iso
from windlass.storage.schema import workflow_runs

MAX_LIMIT = 200
DEFAULT_LIMIT = 50
_ENDED = sorted(status.value for status in TERMINAL)


class Position(NamedTuple):
    """The last question of a page."""

    opened_at: str
    task_id: str


class Page(NamedTuple):
    """Questions, and the cursor to more of them."""

    items: list[Task]
    next_cursor: str | None


def cursor(last: Task) -> str:
    """Return the cursor to what comes after a question."""
    return pack([last.opened_at, last.task_id])


def position(text: str) -> Position:
    """Read a cursor.

    Raises:
        ValidationFailed: it is none.
    """
    return unpack(text, _position)


def _position(told: Any) -> Position:
    opened_at, task_id = told
    if not (isinstance(opened_at, str) and isinstance(task_id, str)):
        raise TypeError
    from_iso(opened_at)
    return Position(opened_at, task_id)


def mine(connection: sa.Connection, actor: Actor, after: Position | None, limit: int) -> list[Task]:
    """Return questions that wait for somebody and that this person has not answered yet."""
    c = inbox.c
    answered = sa.exists().where(decisions.c.task_id == c.task_id, decisions.c.decider == actor.user_id)
    parts = []
    for name in names_of(actor):
        asked = sa.select(c.opened_at, c.task_id).join(workflow_runs, workflow_runs.c.run_id == c.run_id)
        asked = asked.where(c.tenant_id == actor.tenant_id, c.assignee == name, ~answered)
        parts.append(_some(asked, c.opened_at, c.task_id, after, limit))
    return _shown(connection, sa.union(*(sa.select(part.subquery()) for part in parts)), limit)


def everybodys(connection: sa.Connection, tenant_id: str, after: Position | None, limit: int) -> list[Task]:
    """Return the open questions of a tenant, whoever is asked."""
    c = tasks.c
    asked = sa.select(c.opened_at, c.task_id).join(workflow_runs, workflow_runs.c.run_id == c.run_id)
    asked = asked.where(c.tenant_id == tenant_id, sa.text("workflow_human_tasks.status = 'open'"))
    return _shown(connection, _some(asked, c.opened_at, c.task_id, after, limit), limit)


def _some(query: sa.Select[Any], at: sa.Column[Any], key: sa.Column[Any], after: Position | None, limit: int) -> Any:
    query = query.where(workflow_runs.c.status.not_in(_ENDED))
    if after is not None:
        last = sa.tuple_(sa.literal(after.opened_at, at.type), sa.literal(after.task_id, key.type))
        query = query.where(sa.tuple_(at, key) > last)
    return query.order_by(at, key).limit(limit)


def _shown(connection: sa.Connection, chosen: Any, limit: int) -> list[Task]:
    keys = chosen.subquery("chosen")
    first = sa.select(keys.c.task_id).order_by(keys.c.opened_at, keys.c.task_id).limit(limit)
    query = QUERY.where(tasks.c.task_id.in_(first)).order_by(tasks.c.opened_at, tasks.c.task_id)
    return [task(row) for row in connection.execute(query).mappings()]


def left_over(
    connection: sa.Connection, after: Position | None, most: int
) -> tuple[Sequence[tuple[str, str]], Position | None]:
    """Look at the next ``most`` open questions, of every tenant.

    Returns:
        ``(task_id, run_id)`` of those whose run has ended or is gone, and after which to go on (None: that was all).
    """
    c, runs = tasks.c, workflow_runs
    some = sa.select(c.opened_at, c.task_id, c.run_id).where(sa.text("workflow_human_tasks.status = 'open'"))
    if after is not None:
        last = sa.tuple_(sa.literal(after.opened_at, c.opened_at.type), sa.literal(after.task_id, c.task_id.type))
        some = some.where(sa.tuple_(c.opened_at, c.task_id) > last)
    looked = some.order_by(c.opened_at, c.task_id).limit(most).subquery()
    query = sa.select(looked, runs.c.status).outerjoin(runs, runs.c.run_id == looked.c.run_id)
    rows = connection.execute(query.order_by(looked.c.opened_at, looked.c.task_id)).all()
    ended = [(row.task_id, row.run_id) for row in rows if row.status is None or row.status in _ENDED]
    return ended, Position(iso(rows[-1].opened_at) or "", rows[-1].task_id) if len(rows) == most else None
