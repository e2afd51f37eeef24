"""The words of the people context: a question, who may answer it, and what they answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from windlass.engine.types import Status
from windlass.kernel.actors import ROLE, Actor, could_be_id, fold

_NAMED = frozenset({"user", "virtual_key"})
"""The kinds of callers whose user name is theirs alone; labels of keys are anybody's."""


class Kind(StrEnum):
    """What a person is asked for."""

    HUMAN = "human"
    APPROVAL = "approval"

    @property
    def status(self) -> Status:
        """The status of a run that waits for it."""
        return Status.WAITING_HUMAN if self is Kind.HUMAN else Status.WAITING_APPROVAL


class TaskStatus(StrEnum):
    """Where a question stands; only ``cancelled`` (its run, or its branch, has ended) may become ``open`` again."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a question.

    ``decision`` is ``approved``, ``rejected`` or ``timed_out``; ``edited_fields`` are those of everybody who approved,
    the last word on each field counts; ``decided_by`` names who decided, in order.
    """

    decision: str
    comment: str | None = None
    edited_fields: Mapping[str, Any] = field(default_factory=dict)
    decided_by: tuple[str, ...] = ()

    @property
    def approved(self) -> bool:
        """Whether the answer was yes."""
        return self.decision == TaskStatus.APPROVED


class Answer(NamedTuple):
    """What one person said of a question; the time is ISO 8601 text."""

    decider: str
    decision: str
    comment: str | None
    edited_fields: Mapping[str, Any] | None
    decided_at: str


@dataclass(frozen=True, slots=True)
class Task:
    """A question to people. Times are ISO 8601 text; ``approvals`` counts who has said yes so far.

    ``run_status`` is that of its run, and ``workflow`` what is carried out: the name of a definition, or of a workflow.
    """

    task_id: str
    tenant_id: str
    run_id: str
    step_id: str
    kind: str
    status: str
    owner: str | None
    assigned_to: tuple[str, ...]
    instructions: str
    form_schema: Mapping[str, Any] | None
    quorum: int
    opened_at: str
    due_at: str | None
    remind_every: float | None
    reminders: int
    closed_at: str | None
    closed_seq: int | None
    workflow: str | None
    run_status: str | None
    approvals: int

    def may_be_decided_by(self, actor: Actor) -> bool:
        """Say whether somebody may answer it, or hand it on: who is asked, and who administers workflows."""
        if actor.tenant_id != self.tenant_id:
            return False
        return actor.administers_workflows or self.asks(actor)

    def asks(self, actor: Actor) -> bool:
        """Say whether somebody is asked: by id, user name or role."""
        return not set(listed_under(self.assigned_to)).isdisjoint(names_of(actor))


def names_of(actor: Actor) -> tuple[str, ...]:
    """Return under which names a person is asked: its id, its role, and its user name where no id is like it."""
    found = (actor.user_id, f"{ROLE}{actor.role}")
    return found if actor.kind not in _NAMED or could_be_id(actor.username) else (*found, fold(actor.username))


def persons(names: Sequence[str]) -> tuple[str, ...]:
    """Return names without those that stand for somebody a second time."""
    return tuple({name if could_be_id(name) else fold(name): name for name in reversed(names)}.values())[::-1]


def listed_under(assigned_to: Sequence[str]) -> list[str]:
    """Return under which names a question is kept: as those who are asked were named, and as names are compared."""
    folded = (fold(name) for name in assigned_to if not could_be_id(name))
    return list(dict.fromkeys([*assigned_to, *folded]))


class Refused(Exception):
    """A question whose answer the run cannot go on without was not answered with yes."""


class RejectedByHuman(Refused):
    """A person has said no."""


class HumanTimeout(Refused):
    """Nobody has answered in time."""
