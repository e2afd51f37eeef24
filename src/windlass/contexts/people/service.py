"""What people can do: see what waits for them, decide, hand on. The door for others is ``api``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from windlass.contexts.people import deciding, listing, store
from windlass.contexts.people.asking import ASKING, Asking, Remind
from windlass.contexts.people.deciding import CHANGE, NO_RUN, NO_STEP, Change
from windlass.contexts.people.forms import complaints
from windlass.contexts.people.listing import DEFAULT_LIMIT, MAX_LIMIT, Page, Position
from windlass.contexts.people.model import Answer, Decision, Task, TaskStatus
from windlass.contexts.people.questions import check_assignees, question, storable
from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.engine.scope import current_scope
from windlass.engine.types import TERMINAL
from windlass.kernel.actors import RUNS_CONTROL, RUNS_READ, WORKFLOWS_ADMIN, Actor
from windlass.kernel.clock import to_iso
from windlass.kernel.errors import Conflict, Invalid, Issue, NotFound, ValidationFailed
from windlass.kernel.rounds import Calm, Rounds

COMMENT_LENGTH = 10_000
FIELDS_BYTES = 64 * 1024
ROUND_SECONDS = 5.0
QUIET_ROUND_SECONDS = 30.0
NEXT_SECONDS = 0.2
"""The pause between rounds as long as there are more questions to look at."""
LOOK_AT = 500
"""How many open questions one round of housekeeping looks at."""
MOST_OF_A_RUN = 1000


def _nobody(_tx: Transaction, _task: Task) -> None:
    """Remind nobody: the event in the run's journal is all."""


Audit = Callable[[Transaction, Actor, str, str, object, object], None]
"""Writes into the audit log: who, the action, its target, what was before and is after."""


def _unwritten(_tx: Transaction, _actor: Actor, _action: str, _target: str, _before: object, _after: object) -> None:
    """Write no audit log."""


Strangers = Callable[[sa.Connection, str, Sequence[str]], Sequence[str]]
"""Returns which names of people stand for nobody of a tenant."""


def _none(_connection: sa.Connection, _tenant_id: str, _names: Sequence[str]) -> Sequence[str]:
    """Know everybody."""
    return ()


class People:
    """Questions to people in one database.

    Args:
        engine: carries out the runs that ask.
        remind: reminds those who have not answered; called within the transaction that writes the reminder down.
        audit: writes into the audit log what people do, in the transaction that does it.
        strangers: says to whom a question cannot be handed on.
    """

    def __init__(
        self, engine: Engine, remind: Remind = _nobody, audit: Audit = _unwritten, strangers: Strangers = _none
    ) -> None:
        self._engine = engine
        self._strangers = strangers
        self._audit = audit
        self._keeping = Rounds("windlass-people", self.tidy, self._pause, self._not_kept)
        self._calm = Calm(ROUND_SECONDS, QUIET_ROUND_SECONDS)
        self._looked: Position | None = None
        self._asking = ASKING[id(engine.worker)] = Asking(engine, remind)

    # deciding
    async def decide(
        self,
        actor: Actor,
        run_id: str,
        step_id: str,
        decision: str,
        comment: str | None = None,
        edited_fields: Mapping[str, Any] | None = None,
    ) -> Task:
        """Answer the question of a step: ``approve`` or ``reject`` it; its run goes on once that is settled.

        Raises:
            Forbidden: the caller may control no runs.
            NotFound: no such question exists for this caller, who is neither asked nor administers workflows.
            Conflict: it is answered already, was not answered in time, or its run has ended.
            ValidationFailed: the fields do not match the form; names each.
            Invalid: the comment or the fields are too large or cannot be kept.
        """
        if decision not in {"approve", "reject"}:
            raise Invalid(f"a decision is approve or reject, not {decision!r}", field="decision")
        found = await self._asked(actor, run_id, step_id)
        fields = _checked(comment, edited_fields)
        if decision == "approve" and found.form_schema is not None:
            issues = complaints(found.form_schema, edited_fields or {})
            if issues:
                raise ValidationFailed(issues)
        status = TaskStatus.APPROVED if decision == "approve" else TaskStatus.REJECTED
        said = Answer(actor.user_id, status.value, comment, fields, to_iso(self._engine.clock.now()))

        def change(tx: Transaction, task: Task) -> Task:
            decided = deciding.decide(self._engine, tx, task, said)
            self._tell(tx, actor, decision, task, decided)
            return decided

        done: Task = await self._engine.submit(CHANGE, Change(actor, found.run_id, found.task_id, change))
        return done

    async def reassign(self, actor: Actor, run_id: str, step_id: str, assigned_to: str | Sequence[str]) -> Task:
        """Ask others instead.

        Raises:
            Forbidden, NotFound, Conflict: as ``decide``.
            Invalid: nobody is asked, or a name is none, or they are fewer than must say yes.
            ValidationFailed: a name stands for nobody; names each.
        """
        names = check_assignees(assigned_to)
        found = await self._asked(actor, run_id, step_id)
        if found.quorum > len(names) and not any(name.startswith("role:") for name in names):
            raise Invalid(f"{found.quorum} must say yes, and only {len(names)} are asked", field="assigned_to")
        unknown = await self._engine.read(lambda connection: self._strangers(connection, found.tenant_id, names))
        if unknown:
            place = ("body", "assigned_to")
            raise ValidationFailed([Issue(place, f"There is nobody called {one!r}", "unknown_user") for one in unknown])

        def change(tx: Transaction, task: Task) -> Task:
            store.reassign(tx, task, names)
            handed_on = store.load(tx.connection, task.task_id) or task
            self._tell(tx, actor, "reassign", task, handed_on)
            return handed_on

        done: Task = await self._engine.submit(CHANGE, Change(actor, found.run_id, found.task_id, change))
        return done

    def _tell(self, tx: Transaction, actor: Actor, verb: str, before: Task, after: Task) -> None:
        target = f"run:{before.run_id}"
        shown = [
            {
                "step_id": task.step_id,
                "status": task.status,
                "assigned_to": task.assigned_to,
                "approvals": task.approvals,
            }
            for task in (before, after)
        ]
        self._audit(tx, actor, f"run.{verb}", target, *shown)
        if not before.asks(actor):
            self._audit(tx, actor, "run.admin_override", target, None, {"action": verb, "owner_id": before.owner})

    async def _asked(self, actor: Actor, run_id: str, step_id: str) -> Task:
        actor.require(RUNS_CONTROL)
        if not (_an_id(run_id) and _an_id(step_id)):
            raise NotFound(NO_STEP)
        found = await self._engine.read(lambda connection: store.find(connection, run_id, step_id))
        if found is None or not found.may_be_decided_by(actor):
            raise NotFound(NO_STEP if await self._exists_for(actor, run_id) else NO_RUN)
        if found.status != TaskStatus.OPEN:
            raise deciding.closed(found)
        if found.run_status in TERMINAL:
            raise Conflict(f"the run is {found.run_status}", run_id=run_id, status=found.run_status)
        return found

    async def _exists_for(self, actor: Actor, run_id: str) -> bool:
        reader = self._engine.backend.reader
        view = await self._engine.worker.read(lambda: reader.get_run(run_id))
        return view is not None and actor.owns(view.tenant_id, view.owner)

    # reading
    async def inbox(
        self, actor: Actor, *, everybody: bool = False, cursor: str | None = None, limit: int = DEFAULT_LIMIT
    ) -> Page:
        """Return what waits for this caller, oldest first; with ``everybody`` what waits for anybody of the tenant.

        Raises:
            Forbidden: the caller may read no runs, or wants everybody's and does not administer workflows.
            ValidationFailed: the cursor is none.
        """
        actor.require(RUNS_READ)
        if everybody and not actor.administers_workflows:
            actor.require(WORKFLOWS_ADMIN)
        after = None if cursor is None else listing.position(cursor)
        most = min(limit, MAX_LIMIT)

        def read(connection: Any) -> list[Task]:
            if everybody:
                return listing.everybodys(connection, actor.tenant_id, after, most + 1)
            return listing.mine(connection, actor, after, most + 1)

        found = await self._engine.read(read)
        shown = found[:most]
        return Page(shown, listing.cursor(shown[-1]) if len(found) > most else None)

    async def of_run(self, run_id: str) -> list[tuple[Task, list[Answer]]]:
        """Return the questions of a run with what was said of each, in the order they were asked."""

        def read(connection: Any) -> list[tuple[Task, list[Answer]]]:
            found = store.of_run(connection, run_id, MOST_OF_A_RUN)
            said = store.answers(connection, [task.task_id for task in found])
            return [(task, said.get(task.task_id, [])) for task in found]

        return await self._engine.read(read)

    # housekeeping
    async def start(self) -> None:
        """Begin to close the questions of runs that have ended."""
        self._keeping.start()

    async def stop(self) -> None:
        """Stop doing so."""
        await self._keeping.stop()

    def _pause(self) -> float:
        return NEXT_SECONDS if self._looked is not None and not self._keeping.failing else self._calm.seconds

    def _not_kept(self, error: Exception) -> None:
        self._engine.worker.telemetry.event("people.not_tidied", error=str(error))

    async def tidy(self) -> int:
        """Close questions of runs that have ended, among the next few; returns how many.

        Until then nobody sees them or can answer them: this keeps lists of open questions short.
        """
        looked = self._looked
        ended, self._looked = await self._engine.read(lambda connection: listing.left_over(connection, looked, LOOK_AT))
        self._calm.looked(bool(ended) or self._looked is not None)
        if ended:
            await self._engine.transact(lambda tx: self._close(tx, ended), bounded=False)
        return len(ended)

    def _close(self, tx: Transaction, ended: Sequence[tuple[str, str]]) -> None:
        heads = tx.lock_runs(sorted({run_id for _, run_id in ended}))
        at = to_iso(self._engine.clock.now())
        for task_id, run_id in ended:
            head, found = heads.get(run_id), store.load(tx.connection, task_id)
            if found is not None and found.status == TaskStatus.OPEN and (head is None or head.status in TERMINAL):
                store.close(tx, task_id, TaskStatus.CANCELLED, at, 0 if head is None else head.last_seq)


async def wait_for_decision(
    *,
    step_id: str,
    assigned_to: str | Sequence[str],
    kind: str = "human",
    instructions: str = "",
    form_schema: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    quorum: int = 1,
    reminder: float | None = None,
    fail_on: Collection[str] = (),
) -> Decision:
    """Ask people, from within a workflow, and wait until they have decided: a minute or a year.

    Args:
        step_id: what the question is called; who decides names it together with the run.
        assigned_to: a user, or several, by name or id; ``role:`` and a role stands for everybody who has it.
        kind: ``human`` or ``approval``; the run is ``waiting_human`` or ``waiting_approval`` meanwhile.
        instructions: what they are asked, in words.
        form_schema: a JSON Schema that the edited fields of an approval must match.
        timeout: seconds to wait; without it for ever.
        quorum: how many different people must approve; one rejection rejects.
        reminder: seconds between reminders.
        fail_on: with which of ``rejected`` and ``timed_out`` the run fails, unless the error is caught. A retry of
            the run then asks anew, while a decision that was returned stays what it was.

    Raises:
        Invalid: the question cannot be asked; names the culprit.
        StepFailed: it came to one of ``fail_on``; ``error_type`` is RejectedByHuman or HumanTimeout.
        RuntimeError: no people belong to the engine that carries this run out.
    """
    asked = question(
        kind=kind, step_id=step_id, assigned_to=assigned_to, instructions=instructions, form_schema=form_schema,
        timeout=timeout, quorum=quorum, reminder=reminder,
    )  # fmt: skip
    if not {"rejected", "timed_out"}.issuperset(fail_on):
        raise Invalid(f"fail_on takes rejected and timed_out, not {sorted(fail_on)}", field="fail_on")
    scope = current_scope("wait_for_decision")
    asking = ASKING.get(id(scope.run.worker))
    if asking is None:
        raise RuntimeError("this engine has no people: make People(engine) first")
    return await asking.decision(scope, asked, fail_on)


def _checked(comment: str | None, edited_fields: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if comment is not None and not (len(comment) <= COMMENT_LENGTH and storable(comment)):
        message = f"Input should be a string of at most {COMMENT_LENGTH} characters without NUL"
        raise ValidationFailed([Issue(("body", "comment"), message, "string_too_long")])
    if edited_fields is not None and len(orjson.dumps(dict(edited_fields))) > FIELDS_BYTES:
        message = f"Input should be at most {FIELDS_BYTES} bytes of JSON"
        raise ValidationFailed([Issue(("body", "edited_fields"), message, "too_large")])
    return edited_fields


def _an_id(text: str) -> bool:
    return 1 <= len(text) <= 255 and text.isprintable()
