"""Asking from within a workflow: the question is opened in a transactional step, waited for durably, and closed once.

A decision closes the question in its own transaction and wakes the run. A time-out is a step that closes the question
if nobody has: both find the run locked by the other, so exactly one of them wins, and the run hears of that one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import sqlalchemy as sa

from windlass.contexts.people import store
from windlass.contexts.people.deciding import settled, signal_name, told
from windlass.contexts.people.model import Decision, HumanTimeout, RejectedByHuman, Task, TaskStatus
from windlass.contexts.people.questions import Question, microseconds
from windlass.engine.api import note, signal
from windlass.engine.engine import Engine
from windlass.engine.errors import SignalTimeout
from windlass.engine.ops import Operation
from windlass.engine.ports import Transaction
from windlass.engine.run import Run
from windlass.engine.scope import Scope
from windlass.engine.step import step
from windlass.kernel.clock import SECOND, to_iso
from windlass.kernel.ids import new_id
from windlass.kernel.stepping import step_info
from windlass.storage.schema import workflow_events

Remind = Callable[[Transaction, Task], None]
"""Reminds those who are asked, within the transaction that writes it down: start a run there that does it."""


class Asking:
    """Asks for the workflows of one engine.

    Args:
        engine: whose runs ask.
        remind: see ``Remind``.
    """

    def __init__(self, engine: Engine, remind: Remind) -> None:
        self._engine = engine
        self._remind = remind
        self._open_step = step(transactional=True, name="people.ask")(self._open)
        self._remind_step = step(transactional=True, name="people.remind")(self._reminded)
        self._expire_step = step(transactional=True, name="people.expire")(self._expire)
        self._verdict_step = step(transactional=True, name="people.verdict")(self._verdict)

    async def decision(self, scope: Scope[Run], asked: Question, fail_on: Collection[str]) -> Decision:
        """Ask until there is an outcome that is not among those to fail on.

        Raises:
            StepFailed: it is one of those; a retry of the run asks anew.
        """
        claimed = scope.run.claimed
        values = {
            "tenant_id": claimed.tenant_id, "owner": claimed.owner, "step_id": asked.step_id, "kind": asked.kind.value,
            "assigned_to": list(asked.assigned_to), "instructions": asked.instructions, "form_schema": asked.form,
            "quorum": asked.quorum, "timeout": asked.timeout, "remind_every": asked.reminder,
        }  # fmt: skip
        while True:
            opened = await self._open_step(values)
            decided = told(await self._wait(scope, asked, opened))
            if decided.decision == TaskStatus.REJECTED:
                note("human_rejected", {"step_id": asked.step_id})
            elif not decided.approved:
                note("human_timeout", {"step_id": asked.step_id})
            if decided.decision not in fail_on:
                return decided
            await self._verdict_step(opened["task_id"])

    async def _wait(self, scope: Scope[Run], asked: Question, opened: dict[str, Any]) -> dict[str, Any]:
        task_id, due = opened["task_id"], opened["due_at"]
        name, number = signal_name(task_id), 0
        every = None if asked.reminder is None else microseconds(asked.reminder)
        telling = {"step_id": asked.step_id, "assigned_to": list(asked.assigned_to), "task_id": task_id}
        try:
            while True:
                reminder = None if every is None else opened["opened_at"] + every * (number + 1)
                until = min((at for at in (due, reminder) if at is not None), default=None)
                await self._go_on(scope, name, task_id)
                left = None if until is None else (until - self._engine.clock.now()) / SECOND
                try:
                    said: dict[str, Any] = await signal(
                        name, timeout=left, status=asked.kind.status, told=None if number else telling
                    )
                    return said
                except SignalTimeout:
                    if until == due:
                        return await self._expire_step(task_id)
                number = await self._remind_step(task_id, number)
                note("human_reminded", {"step_id": asked.step_id, "number": number})
        except asyncio.CancelledError:
            if not scope.run.gone:
                run = scope.run
                self._engine.commits.submit(WITHDRAW, Withdrawal(run.run_id, run.holder, task_id, self._now()))
            raise

    async def _go_on(self, scope: Scope[Run], name: str, task_id: str) -> None:
        """Ask again what was cancelled, where a wait goes on that was begun before."""
        begun = scope.peek(f"signal:{name}")
        if begun is not None and begun.settled is None:
            await self._engine.transact(lambda tx: self._reopen(tx, scope.run, task_id), bounded=False)

    # steps: each in the transaction that writes its outcome into the journal
    def _open(self, tx: Transaction, values: dict[str, Any]) -> dict[str, Any]:
        now, task_id = self._engine.clock.now(), new_id()
        due = None if values["timeout"] is None else now + microseconds(values["timeout"])
        row = {name: value for name, value in values.items() if name not in {"timeout", "assigned_to"}}
        row |= {
            "task_id": task_id, "run_id": step_info().run_id, "opened_at": to_iso(now),
            "due_at": None if due is None else to_iso(due),
        }  # fmt: skip
        store.ask(tx, row, values["assigned_to"])
        return {"task_id": task_id, "opened_at": now, "due_at": due}

    def _reminded(self, tx: Transaction, task_id: str, number: int) -> int:
        found = self._locked(tx, step_info().run_id, task_id)
        if found is not None and found.status == TaskStatus.OPEN:
            store.remind(tx, task_id, number + 1)
            self._remind(tx, found)
        return number + 1

    def _expire(self, tx: Transaction, task_id: str) -> dict[str, Any]:
        found = self._locked(tx, step_info().run_id, task_id)
        if found is None or found.status in {TaskStatus.APPROVED, TaskStatus.REJECTED}:
            status = TaskStatus.TIMED_OUT if found is None else TaskStatus(found.status)
            return settled(tx, task_id, status)
        store.close(tx, task_id, TaskStatus.TIMED_OUT, self._now(), tx.heads[found.run_id].last_seq)
        return {"decision": TaskStatus.TIMED_OUT.value, "comment": None, "edited_fields": {}, "decided_by": []}

    def _verdict(self, tx: Transaction, task_id: str) -> bool:
        """Fail the run that cannot go on, unless it was retried since: then it asks anew."""
        found = self._locked(tx, step_info().run_id, task_id)
        if found is None or _retried_since(tx.connection, found.run_id, found.closed_seq or 0):
            return True
        if found.status == TaskStatus.REJECTED:
            raise RejectedByHuman(f"step {found.step_id} was rejected")
        raise HumanTimeout(f"nobody decided on step {found.step_id} in time")

    # beside the journal: repeating it changes nothing
    def _reopen(self, tx: Transaction, run: Run, task_id: str) -> None:
        found = self._locked(tx, run.run_id, task_id)
        if found is not None and found.status == TaskStatus.CANCELLED and tx.heads[run.run_id].holder == run.holder:
            store.reopen(tx, found)

    def _now(self) -> str:
        return to_iso(self._engine.clock.now())

    @staticmethod
    def _locked(tx: Transaction, run_id: str, task_id: str) -> Task | None:
        """Return a question once its run is locked."""
        return store.load(tx.connection, task_id) if run_id in tx.lock_runs([run_id]) else None


class Withdrawal(NamedTuple):
    """The question of a branch that was stopped in a run of ``holder``."""

    run_id: str
    holder: str
    task_id: str
    at: str


class Withdrawals(Operation[Withdrawal, None]):
    """Closes such questions, for holders who still are; a replay stops the branch, and closes them, again.

    Before what else their runs write: one that parks in the same transaction is held until then.
    """

    rank = 5

    def locks(self, unit: Withdrawal) -> Iterable[str]:
        """Lock the run."""
        return (unit.run_id,)

    def apply(self, tx: Transaction, units: Sequence[Withdrawal]) -> list[None]:
        """Close what is open."""
        for unit in units:
            head, found = tx.heads.get(unit.run_id), store.load(tx.connection, unit.task_id)
            if (
                head is not None
                and head.holder == unit.holder
                and found is not None
                and found.status == TaskStatus.OPEN
            ):
                store.close(tx, unit.task_id, TaskStatus.CANCELLED, unit.at, head.last_seq)
        return [None] * len(units)


WITHDRAW = Withdrawals()


def _retried_since(connection: sa.Connection, run_id: str, seq: int) -> bool:
    c = workflow_events.c
    query = sa.select(c.event_seq).where(c.run_id == run_id, c.event_seq > seq, c.event_type == "run_retried").limit(1)
    return connection.execute(query).first() is not None


ASKING: WeakValueDictionary[int, Asking] = WeakValueDictionary()
"""Who asks for the runs of a worker, by its identity."""
