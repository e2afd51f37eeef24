"""Approving candidates: of all who decide at once one wins, and one run does what is to be done. See ``tasks``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from windlass.contexts.providers import rows
from windlass.contexts.providers.model import (
    AlreadyDecided,
    Approval,
    ApprovalExpired,
    ApprovalState,
    Approved,
    BillingFailed,
    Candidate,
    Modified,
    NoReview,
    Outcome,
    Pending,
    ProviderTaken,
    SecondNeeded,
    Status,
)
from windlass.contexts.providers.outcomes import Parts, record
from windlass.contexts.providers.tasks import ENDED, GIVE_UP_SIGNAL, REVIEW_SIGNAL, SECOND_SIGNAL, Order, define
from windlass.engine.engine import Engine
from windlass.engine.errors import RunCancelled, RunConflict, RunFailed, UnknownRun
from windlass.engine.ports import Transaction
from windlass.engine.starting import Start
from windlass.engine.types import StartRequest
from windlass.kernel.actors import Actor
from windlass.kernel.clock import SECOND, from_iso, to_iso
from windlass.kernel.errors import WindlassError
from windlass.kernel.ids import new_id

LOOK_SECONDS = 1.0
"""How often whoever waits for an approval looks whether it needs a person by now."""
HOUR = 3600.0
FAILED = "Failed to create provider: "


@dataclass(frozen=True, slots=True)
class ApprovalRules:
    """``wait_seconds``: how long a caller may wait; ``second``: two administrators must approve.

    ``expires_hours``: how long the first one's approval waits for the second; None for ever.
    """

    wait_seconds: float = 60.0
    second: bool = False
    expires_hours: float | None = None


class Sagas:
    """Approves candidates of one database; see ``model.Approvals``.

    Args:
        engine: carries the sagas out.
        parts: what they work with.
        rules: how many must approve, and how long anybody waits.
    """

    def __init__(self, engine: Engine, parts: Parts, rules: ApprovalRules | None = None) -> None:
        self._engine = engine
        self._parts = parts
        self._rules = rules or ApprovalRules()
        self._workflow = define(engine.registry, parts)

    async def approve(self, actor: Actor, candidate_id: str, *, version: int | None, wait: bool) -> Outcome:
        """Approve a candidate; see ``model.Approvals``."""
        run_id, now = new_id(), self._engine.clock.now()

        def begin(tx: Transaction) -> Approval:
            before = rows.have(tx.connection, candidate_id, actor.tenant_id)
            if version is not None and before.version != version:
                raise (
                    AlreadyDecided(before.status)
                    if before.status != Status.PENDING
                    else Modified(version=before.version)
                )
            if before.approval is not None and before.approval.state == ApprovalState.AWAITING_SECOND:
                return self._second(tx, actor, before, now, wait)
            return self._first(tx, actor, before, run_id, now, wait)

        approval = await self._engine.transact(begin)
        if not wait or approval.state == ApprovalState.AWAITING_SECOND:
            return Pending(candidate_id, approval)
        return await self._end(candidate_id, approval)

    def _first(self, tx: Transaction, actor: Actor, before: Candidate, run_id: str, now: int, wait: bool) -> Approval:
        """Claim a candidate and start the run that approves it: both happen, or neither."""
        rules = self._rules
        expires = rules.expires_hours if rules.second else None
        until = None if expires is None else to_iso(now + int(expires * HOUR * SECOND))
        state = ApprovalState.AWAITING_SECOND if rules.second else ApprovalState.APPROVING
        approval = Approval(state.value, run_id, actor.user_id, actor.username, to_iso(now), until)
        tried, _ = rows.tried(tx.connection, before.candidate_id)
        former = tried if tried is not None and tried != before.company_name else None
        rows.claim(tx, actor.tenant_id, before.candidate_id, before.version, approval, now)
        order = Order(
            before.candidate_id, before.company_name, former, tried is not None, wait, rules.second,
            None if expires is None else expires * HOUR,
        )  # fmt: skip
        self._engine.begin_in(tx, self._request(order, run_id, actor))
        told = {"status": before.status, "approval": approval.view()}
        self._parts.audit(
            tx, actor, "candidate.approval", f"candidate:{before.candidate_id}", {"status": before.status}, told
        )
        return approval

    def _request(self, order: Order, run_id: str, actor: Actor) -> StartRequest:
        start = Start(
            self._workflow, args=(order,), run_id=run_id, key=order.candidate_id, tenant_id=actor.tenant_id,
            owner=actor.user_id, on_end=ENDED,
        )  # fmt: skip
        return self._engine.request(start)

    def _second(self, tx: Transaction, actor: Actor, before: Candidate, now: int, wait: bool) -> Approval:
        """Let an approval go on that waits for a second administrator, who says whether it is to be waited for."""
        asked = before.approval
        assert asked is not None  # noqa: S101  the caller looked
        if asked.requested_by == actor.user_id:
            raise SecondNeeded
        late = asked.expires_at is not None and from_iso(asked.expires_at) <= now
        if late or not rows.second(tx, before.candidate_id, asked.run_id, now):
            raise Modified(version=before.version)
        if not self._tell_run(tx, asked.run_id, SECOND_SIGNAL, {"approved": True, "wait": wait, "by": actor.user_id}):
            raise Modified(version=before.version)
        after = rows.have(tx.connection, before.candidate_id)
        told = {"status": before.status, "approval": None if after.approval is None else after.approval.view()}
        self._parts.audit(
            tx, actor, "candidate.second_approval", f"candidate:{before.candidate_id}",
            {"status": before.status, "approval": asked.view()}, told,
        )  # fmt: skip
        return after.approval or asked

    def _tell_run(self, tx: Transaction, run_id: str, name: str, said: dict[str, Any]) -> bool:
        """Send a signal to the run of an approval; False when it has ended."""
        try:
            self._engine.signal_in(tx, run_id, name, said, dedup_id=name)
        except (RunConflict, UnknownRun):
            return False
        return True

    async def _end(self, candidate_id: str, approval: Approval) -> Outcome:
        """Wait for the end of an approval, as long as a caller may; nothing of the database is held meanwhile."""
        monotonic = self._engine.clock.monotonic
        until = monotonic() + self._rules.wait_seconds
        while True:
            left = until - monotonic()
            try:
                told = await self._engine.result(approval.run_id, timeout=max(min(LOOK_SECONDS, left), 0))
            except TimeoutError:
                found = await self._engine.read(lambda connection: rows.have(connection, candidate_id))
                now = found.approval
                if now is not None and (left <= 0 or now.state == ApprovalState.NEEDS_REVIEW):
                    return Pending(candidate_id, now)
                if left <= 0:
                    return Pending(candidate_id, approval)
            except RunFailed as failed:
                raise await self._why(candidate_id, failed.data["error"] or {}) from None
            except RunCancelled:
                raise Modified from None
            else:
                if told["outcome"] != "approved":
                    raise Modified
                return Approved(candidate_id, told["provider_id"])

    async def _why(self, candidate_id: str, error: Any) -> WindlassError:
        """Return what to tell whoever waited for an approval that failed."""
        if error.get("type") == ApprovalExpired.__name__:
            return ApprovalExpired()
        if error.get("type") == BillingFailed.__name__:
            return BillingFailed(str(error.get("message", "")).removeprefix(FAILED))
        found = await self._engine.read(lambda connection: rows.have(connection, candidate_id))
        return Modified(version=found.version)

    async def review(
        self, actor: Actor, candidate_id: str, *, version: int | None, provider_id: int | None
    ) -> Candidate:
        """Settle an approval that needs a person; see ``model.Approvals``."""

        def settle(tx: Transaction) -> Candidate:
            before = rows.have(tx.connection, candidate_id, actor.tenant_id)
            asked = before.approval
            if version is not None and before.version != version and asked is not None:
                raise Modified(version=before.version)
            if before.status != Status.PENDING:
                return self._seen(tx, actor, before, provider_id)
            if asked is None or asked.state not in _open_to(provider_id):
                raise NoReview
            if provider_id is None and asked.state == ApprovalState.WAITING_FOR_BILLING:
                return self._given_up(tx, actor, before, asked)
            if provider_id is None:
                return self._released(tx, actor, before, asked)
            return self._adopted(tx, actor, before, asked, provider_id)

        try:
            settled = await self._engine.transact(settle)
        except WindlassError:
            raise
        except Exception as error:
            if provider_id is None:
                raise
            other = await self._engine.transact(lambda tx: rows.owner_of(tx, provider_id, candidate_id))
            if other is None:
                raise
            raise ProviderTaken(provider_id, other) from error
        return await self._heard(settled)

    async def _heard(self, settled: Candidate) -> Candidate:
        """Wait until an approval that was given up waits for billing no more, as long as a caller may."""
        monotonic = self._engine.clock.monotonic
        until = monotonic() + self._rules.wait_seconds
        found, ended = settled, False
        while not ended and found.approval is not None and found.approval.state == ApprovalState.WAITING_FOR_BILLING:
            left = until - monotonic()
            try:
                await self._engine.result(found.approval.run_id, timeout=max(min(LOOK_SECONDS, left), 0))
                ended = True
            except TimeoutError:
                ended = left <= 0
            except (RunFailed, RunCancelled):
                ended = True
            found = await self._engine.read(lambda connection: rows.have(connection, settled.candidate_id))
        return found

    def _adopted(
        self, tx: Transaction, actor: Actor, before: Candidate, asked: Approval, provider_id: int
    ) -> Candidate:
        other = rows.owner_of(tx, provider_id, before.candidate_id)
        if other is not None:
            raise ProviderTaken(provider_id, other)
        after = record(tx, self._parts, before.candidate_id, asked.run_id, provider_id, actor)
        if after is None:
            raise Modified(version=before.version)
        self._tell_run(tx, asked.run_id, REVIEW_SIGNAL, {"outcome": "approved", "provider_id": provider_id})
        return after

    def _given_up(self, tx: Transaction, actor: Actor, before: Candidate, asked: Approval) -> Candidate:
        """Ask the run to give up when its call of billing has ended: it alone knows what may have become of them."""
        now, note = self._engine.clock.now(), f"{actor.username} gives it up: after the call of billing under way"
        state = ApprovalState.WAITING_FOR_BILLING
        said = {"by": actor.user_id, "by_name": actor.username}
        if not rows.move(tx, before.candidate_id, asked.run_id, state, note, now) or not self._tell_run(
            tx, asked.run_id, GIVE_UP_SIGNAL, said
        ):
            raise Modified(version=before.version)
        return self._settled(tx, actor, before, asked)

    def _released(self, tx: Transaction, actor: Actor, before: Candidate, asked: Approval) -> Candidate:
        """Make the candidate pending again: the person has seen that billing has no provider for it."""
        now = self._engine.clock.now()
        if asked.state == ApprovalState.NEEDS_REVIEW:
            rows.untried(tx, before.candidate_id, asked.run_id, now)
        if not rows.release(tx, before.candidate_id, asked.run_id, now):
            raise Modified(version=before.version)
        if asked.state == ApprovalState.AWAITING_SECOND:
            self._tell_run(tx, asked.run_id, SECOND_SIGNAL, {"approved": False, "by": actor.user_id})
        else:
            self._tell_run(tx, asked.run_id, REVIEW_SIGNAL, {"outcome": "released"})
        return self._settled(tx, actor, before, asked)

    def _seen(self, tx: Transaction, actor: Actor, before: Candidate, provider_id: int | None) -> Candidate:
        """Hear that a person has looked what billing has of a rejected candidate."""
        asked = before.approval
        if asked is None or provider_id is not None:
            raise AlreadyDecided(before.status)
        if not rows.seen(tx, before.candidate_id, self._engine.clock.now()):
            raise Modified(version=before.version)
        return self._settled(tx, actor, before, asked)

    def _settled(self, tx: Transaction, actor: Actor, before: Candidate, asked: Approval) -> Candidate:
        after = rows.have(tx.connection, before.candidate_id)
        told = {"status": after.status, "approval": None if after.approval is None else after.approval.view()}
        self._parts.audit(
            tx, actor, "candidate.release", f"candidate:{before.candidate_id}",
            {"status": before.status, "approval": asked.view()}, told,
        )  # fmt: skip
        return after


def _open_to(provider_id: int | None) -> set[str]:
    """Return the states of an approval in which a person may settle it; without a provider it is given up."""
    if provider_id is not None:
        return {ApprovalState.NEEDS_REVIEW}
    return {ApprovalState.NEEDS_REVIEW, ApprovalState.AWAITING_SECOND, ApprovalState.WAITING_FOR_BILLING}
