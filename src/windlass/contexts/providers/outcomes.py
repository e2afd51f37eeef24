"""What an approval comes to, written in an open transaction: by its run, or by the person who settles it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from windlass.contexts.providers import rows
from windlass.contexts.providers.billing import Billing
from windlass.contexts.providers.model import ApprovalState, Candidate
from windlass.engine.ports import Transaction
from windlass.kernel.actors import Actor
from windlass.kernel.clock import Clock
from windlass.kernel.telemetry import Telemetry

APPROVALS = "provider_service_approvals"

Audit = Callable[[Transaction, Actor, str, str, object, object], None]
Tell = Callable[[Transaction, Candidate], None]
"""Queues the news of an approved candidate in the transaction that approves it."""


def tell_nobody(_tx: Transaction, _candidate: Candidate) -> None:
    """Queue nothing."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the saga works with."""

    billing: Billing
    clock: Clock
    telemetry: Telemetry
    audit: Audit
    tell: Tell = tell_nobody


def record(
    tx: Transaction, parts: Parts, candidate_id: str, run_id: str, provider_id: int, by: Actor | None
) -> Candidate | None:
    """Approve a candidate in an open transaction, tell of it, and write the audit log in the name of who asked for it.

    ``by`` is who decided instead. None is returned when the candidate has the approval of this run no more.
    """
    before = rows.get(tx.connection, candidate_id)
    if (
        before is None
        or before.approval is None
        or not rows.approve(tx, candidate_id, run_id, provider_id, parts.clock.now())
    ):
        return None
    asked = before.approval
    actor = by or Actor(asked.requested_by, asked.requested_by_name, before.tenant_id, role="admin")
    after = {"status": "approved", "provider_id": provider_id}
    parts.audit(tx, actor, "candidate.approve", f"candidate:{candidate_id}", {"status": before.status}, after)
    approved = rows.have(tx.connection, candidate_id)
    parts.tell(tx, approved)
    parts.telemetry.event("candidate.approved", level="info", candidate_id=candidate_id, provider_id=provider_id)
    parts.telemetry.count(APPROVALS, outcome="approved")
    return approved


def move(tx: Transaction, parts: Parts, candidate_id: str, run_id: str, state: ApprovalState, note: str) -> bool:
    """Say how far an approval is, and tell operators of one that needs a person; False: no candidate has it."""
    moved = rows.move(tx, candidate_id, run_id, state, note, parts.clock.now())
    if moved and state is ApprovalState.NEEDS_REVIEW:
        parts.telemetry.event("candidate.needs_review", candidate_id=candidate_id, note=note)
        parts.telemetry.count(APPROVALS, outcome="needs_review")
    return moved
