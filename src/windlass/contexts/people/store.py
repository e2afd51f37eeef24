"""Rows of questions: read and written with the connection of whoever is at it.

Whoever changes a question holds the lock of its run, so that a decision, a time-out and the end of the run take turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from windlass.contexts.people.model import Answer, Task, TaskStatus, listed_under
from windlass.contexts.people.tables import decisions, inbox, tasks
from windlass.engine.ports import Transaction
from windlass.storage.queries import iso
from windlass.storage.schema import workflow_runs

_INSERT = """INSERT INTO workflow_human_tasks (task_id, tenant_id, run_id, step_id, kind, status, owner, assigned_to,
 instructions, form_schema, quorum, opened_at, due_at, remind_every) VALUES (:task_id, :tenant_id, :run_id, :step_id,
 :kind, 'open', :owner, :assigned_to, :instructions, :form_schema, :quorum, :opened_at, :due_at, :remind_every)"""
_DECIDE = """INSERT INTO workflow_human_decisions (task_id, decider, decision, comment, edited_fields, decided_at)
 VALUES (:task_id, :decider, :decision, :comment, :edited_fields, :decided_at)"""
_ASSIGN = "UPDATE workflow_human_tasks SET assigned_to = :assigned_to WHERE task_id = :task_id"
_REMINDED = "UPDATE workflow_human_tasks SET reminders = :reminders WHERE task_id = :task_id"
_CLOSE = """UPDATE workflow_human_tasks SET status = :status, closed_at = :closed_at, closed_seq = :closed_seq
 WHERE task_id = :task_id"""
_REOPEN = """UPDATE workflow_human_tasks SET status = 'open', closed_at = NULL, closed_seq = NULL
 WHERE task_id = :task_id"""
_UNLIST = "DELETE FROM workflow_human_inbox WHERE task_id = :task_id"
_INBOX = ("tenant_id", "assignee", "opened_at", "task_id", "run_id")

_approvals = (
    sa.select(sa.func.count())
    .where(decisions.c.task_id == tasks.c.task_id, decisions.c.decision == TaskStatus.APPROVED.value)
    .scalar_subquery()
)
_named = workflow_runs.c.attributes.op("->>", return_type=sa.Text())(sa.literal("workflow_name", sa.Text()))
QUERY = sa.select(
    tasks, sa.func.coalesce(_named, workflow_runs.c.name).label("workflow"), workflow_runs.c.status.label("run_status"),
    _approvals.label("approvals"),
).select_from(tasks.outerjoin(workflow_runs, workflow_runs.c.run_id == tasks.c.run_id))  # fmt: skip


def task(row: Any) -> Task:
    """Return a row of ``QUERY`` as a question."""
    found = dict(row)
    for column in ("opened_at", "due_at", "closed_at"):
        found[column] = iso(found[column])
    found["form_schema"] = _value(found["form_schema"])
    found["assigned_to"] = tuple(_value(found["assigned_to"]))
    return Task(**found)


def load(connection: sa.Connection, task_id: str) -> Task | None:
    """Return a question."""
    row = connection.execute(QUERY.where(tasks.c.task_id == task_id)).mappings().first()
    return None if row is None else task(row)


def find(connection: sa.Connection, run_id: str, step_id: str) -> Task | None:
    """Return what a step asks: the question open longest, else the one asked last."""
    asked = QUERY.where(tasks.c.run_id == run_id, tasks.c.step_id == step_id).limit(1)
    still_open = asked.where(tasks.c.status == TaskStatus.OPEN.value).order_by(tasks.c.opened_at, tasks.c.task_id)
    last = asked.order_by(tasks.c.opened_at.desc(), tasks.c.task_id.desc())
    row = connection.execute(still_open).mappings().first() or connection.execute(last).mappings().first()
    return None if row is None else task(row)


def of_run(connection: sa.Connection, run_id: str, most: int) -> list[Task]:
    """Return the questions of a run in the order they were asked."""
    query = QUERY.where(tasks.c.run_id == run_id).order_by(tasks.c.opened_at, tasks.c.task_id).limit(most)
    return [task(row) for row in connection.execute(query).mappings()]


def answers(connection: sa.Connection, task_ids: Sequence[str]) -> dict[str, list[Answer]]:
    """Return what people said of questions, in order, by question."""
    c = decisions.c
    query = sa.select(decisions).where(c.task_id.in_(task_ids)).order_by(c.task_id, c.decided_at, c.decider)
    found: dict[str, list[Answer]] = {}
    for row in connection.execute(query):
        said = Answer(row.decider, row.decision, row.comment, _value(row.edited_fields), iso(row.decided_at) or "")
        found.setdefault(row.task_id, []).append(said)
    return found


def ask(tx: Transaction, values: dict[str, Any], assigned_to: Sequence[str]) -> None:
    """Store a new question and put it into the lists of those who are asked."""
    tx.execute(_INSERT, {**values, "assigned_to": orjson.dumps(assigned_to).decode()})
    _list(tx, assigned_to, values["tenant_id"], values["opened_at"], values["task_id"], values["run_id"])


def answer(tx: Transaction, task_id: str, said: Answer) -> None:
    """Store what a person said; that person is not asked again."""
    fields = None if said.edited_fields is None else orjson.dumps(said.edited_fields).decode()
    tx.execute(_DECIDE, {**said._asdict(), "task_id": task_id, "edited_fields": fields})
    tx.execute(f"{_UNLIST} AND assignee = :decider", {"task_id": task_id, "decider": said.decider})


def has_answered(connection: sa.Connection, task_id: str, decider: str) -> bool:
    """Say whether somebody has answered a question."""
    c = decisions.c
    return (
        connection.execute(sa.select(c.decider).where(c.task_id == task_id, c.decider == decider)).first() is not None
    )


def reassign(tx: Transaction, found: Task, assigned_to: Sequence[str]) -> None:
    """Ask others instead; who has answered already is not asked again."""
    tx.execute(_ASSIGN, {"task_id": found.task_id, "assigned_to": orjson.dumps(assigned_to).decode()})
    tx.execute(_UNLIST, {"task_id": found.task_id})
    _relist(tx, found, assigned_to)


def remind(tx: Transaction, task_id: str, number: int) -> None:
    """Write down how often people were reminded."""
    tx.execute(_REMINDED, {"task_id": task_id, "reminders": number})


def close(tx: Transaction, task_id: str, status: TaskStatus, at: str, seq: int) -> None:
    """Close a question; nobody is asked any more."""
    tx.execute(_CLOSE, {"task_id": task_id, "status": status.value, "closed_at": at, "closed_seq": seq})
    tx.execute(_UNLIST, {"task_id": task_id})


def reopen(tx: Transaction, found: Task) -> None:
    """Ask again what was cancelled."""
    tx.execute(_REOPEN, {"task_id": found.task_id})
    _relist(tx, found, found.assigned_to)


def _relist(tx: Transaction, found: Task, assigned_to: Sequence[str]) -> None:
    done = {said.decider for said in answers(tx.connection, [found.task_id]).get(found.task_id, ())}
    left = [name for name in assigned_to if name not in done]
    _list(tx, left, found.tenant_id, found.opened_at, found.task_id, found.run_id)


def _list(tx: Transaction, names: Sequence[str], tenant_id: str, opened_at: str, task_id: str, run_id: str) -> None:
    tx.insert_rows(inbox, _INBOX, [(tenant_id, name, opened_at, task_id, run_id) for name in listed_under(names)])


def _value(column: object) -> Any:
    return orjson.loads(column) if isinstance(column, str) else column
