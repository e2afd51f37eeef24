"""Deciding: one transaction takes an answer in, closes the question and wakes its run.

The run is locked first, as by everybody who changes one of its questions: of a decision and a time-out, and of two
decisions, one comes first, and the other finds the question closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from windlass.contexts.people import store
from windlass.contexts.people.model import Answer, Decision, Task, TaskStatus
from windlass.engine.engine import Engine
from windlass.engine.ops import Operation
from windlass.engine.ports import Transaction
from windlass.engine.types import TERMINAL
from windlass.kernel.actors import Actor
from windlass.kernel.errors import Conflict, NotFound, WindlassError

NO_STEP = "Step run not found"
NO_RUN = "Run not found"


@dataclass(slots=True)
class Change:
    """A change that somebody wants to make to a question: ``apply`` does it once it is known to be allowed."""

    actor: Actor
    run_id: str
    task_id: str
    apply: Callable[[Transaction, Task], Any]


class Changes(Operation[Change, Any]):
    """Changes of open questions by people who may make them."""

    rank = 45

    def locks(self, unit: Change) -> Iterable[str]:
        """Lock the question's run."""
        return (unit.run_id,)

    def quick(self, unit: Change) -> bool:  # noqa: ARG002  a handful of statements
        """A few rows."""
        return True

    def apply(self, tx: Transaction, units: Sequence[Change]) -> list[Any]:
        """Make each change whose question is still open."""
        return [self._one(tx, unit) for unit in units]

    @staticmethod
    def _one(tx: Transaction, unit: Change) -> Any:
        head, found = tx.heads.get(unit.run_id), store.load(tx.connection, unit.task_id)
        if head is None or found is None or not found.may_be_decided_by(unit.actor):
            return NotFound(NO_STEP)
        if found.status != TaskStatus.OPEN:
            return closed(found)
        if head.status in TERMINAL:
            return Conflict(f"the run is {head.status}", run_id=head.run_id, status=str(head.status))
        try:
            return unit.apply(tx, found)
        except WindlassError as error:  # raised before anything was written
            return error


CHANGE = Changes()


def closed(found: Task) -> Conflict:
    """Return what is answered to who comes too late."""
    said = found.status.replace("_", " ")
    return Conflict(f"step {found.step_id} is {said} already", run_id=found.run_id, status=found.status)


def decide(engine: Engine, tx: Transaction, found: Task, said: Answer) -> Task:
    """Take an answer in; the one that settles the question wakes the run.

    Raises:
        Conflict: this person has answered before.
    """
    if store.has_answered(tx.connection, found.task_id, said.decider):
        raise Conflict(f"{said.decider} has decided on step {found.step_id} already", run_id=found.run_id)
    store.answer(tx, found.task_id, said)
    if said.decision == TaskStatus.APPROVED and found.approvals + 1 < found.quorum:
        return _again(tx, found)
    status = TaskStatus(said.decision)
    store.close(tx, found.task_id, status, said.decided_at, tx.heads[found.run_id].last_seq)
    outcome = settled(tx, found.task_id, status)
    engine.signal_in(tx, found.run_id, signal_name(found.task_id), outcome, dedup_id=found.task_id)
    return _again(tx, found)


def settled(tx: Transaction, task_id: str, status: TaskStatus) -> dict[str, Any]:
    """Return what became of a question as JSON data, the same for whoever asks."""
    said = store.answers(tx.connection, [task_id]).get(task_id, [])
    counted = [one for one in said if one.decision == status.value]
    fields: dict[str, Any] = {}
    for one in counted:
        fields |= one.edited_fields or {}
    comment = next((one.comment for one in reversed(counted) if one.comment is not None), None)
    return {
        "decision": status.value,
        "comment": comment,
        "edited_fields": fields,
        "decided_by": [one.decider for one in counted],
    }


def told(outcome: dict[str, Any]) -> Decision:
    """Return an outcome as a workflow sees it."""
    by = tuple(outcome["decided_by"])
    return Decision(outcome["decision"], outcome["comment"], outcome["edited_fields"], by)


def signal_name(task_id: str) -> str:
    """Return what the run of a question listens for."""
    return f"decision:{task_id}"


def _again(tx: Transaction, found: Task) -> Task:
    now = store.load(tx.connection, found.task_id)
    assert now is not None  # noqa: S101  it was there a moment ago, and its run is locked
    return now
