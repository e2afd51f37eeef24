"""A candidate and what can become of it: pending → approved or rejected, and nothing after that.

While an approval is under way the candidate stays pending and ``approval`` says how far it is: nobody else decides or
changes it meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import orjson

from windlass.kernel.actors import Actor
from windlass.kernel.errors import Conflict, Invalid, Kind, NotFound, WindlassError

NAME_LENGTH = 255
"""Longest company name, e-mail address and location, in characters."""
PHONE_LENGTH = 50
REASON_LENGTH = 1000
"""Longest reason of a rejection, in characters."""
NO_CANDIDATE = "Candidate not found"
MODIFIED = "Candidate was modified by another process. Please retry."


class Status(StrEnum):
    """Where a candidate stands."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


class ApprovalState(StrEnum):
    """How far an approval under way is."""

    AWAITING_SECOND = "awaiting_second"
    APPROVING = "approving"
    WAITING_FOR_BILLING = "waiting_for_billing"
    NEEDS_REVIEW = "needs_review"


class CandidateNotFound(NotFound):
    """There is no such candidate for this caller."""

    code = "CANDIDATE_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__(NO_CANDIDATE)


class EmailTaken(Conflict):
    """Another candidate has this e-mail address, written in whatever case."""

    code = "EMAIL_TAKEN"

    def __init__(self) -> None:
        super().__init__("A candidate with this email already exists")


class AlreadyDecided(Invalid):
    """The candidate is approved or rejected, which stays."""

    code = "ALREADY_DECIDED"

    def __init__(self, status: str) -> None:
        super().__init__(f"Candidate already {status}")


class Modified(Conflict):
    """Somebody else has changed the candidate, or is approving it; nothing was done.

    ``data`` has the ``version`` that it has by now.
    """

    code = "CANDIDATE_MODIFIED"

    def __init__(self, **data: object) -> None:
        super().__init__(MODIFIED, **data)


class BillingFailed(WindlassError):
    """The provider could not be created; the candidate is pending again."""

    code = "BILLING_FAILED"
    kind = Kind.BAD_GATEWAY

    def __init__(self, reason: str) -> None:
        super().__init__(f"Failed to create provider: {reason}")


class SecondNeeded(Conflict):
    """The administrator who asked for an approval cannot be the second one, too."""

    code = "SECOND_APPROVER_NEEDED"

    def __init__(self) -> None:
        super().__init__("Another administrator must approve this candidate")


class ApprovalExpired(Conflict):
    """No second administrator approved in time; the candidate is pending again."""

    code = "APPROVAL_EXPIRED"

    def __init__(self) -> None:
        super().__init__("No second administrator approved in time")


class NoReview(Conflict):
    """Nothing of this candidate waits for a person."""

    code = "NO_REVIEW"

    def __init__(self) -> None:
        super().__init__("Candidate does not need a review")


class ProviderTaken(Conflict):
    """Another candidate has this provider; ``data`` has its ``candidate_id``."""

    code = "PROVIDER_TAKEN"

    def __init__(self, provider_id: int, candidate_id: str) -> None:
        super().__init__(f"Provider {provider_id} belongs to another candidate", candidate_id=candidate_id)


class NewCandidate(NamedTuple):
    """A checked registration; see ``intake`` for the bounds."""

    company_name: str
    contact_email: str
    phone: str | None
    products: tuple[str, ...]
    truck_count: int
    capacity_tons_per_day: int
    location: str | None


Changes = dict[str, Any]
"""Checked changes of a candidate: values by the names of ``NewCandidate``'s fields."""


@dataclass(frozen=True, slots=True)
class Approval:
    """An approval under way. Times are ISO 8601 text in UTC; ``requested_by`` is a user's id, of who asked for it."""

    state: str
    run_id: str
    requested_by: str
    requested_by_name: str
    requested_at: str
    expires_at: str | None = None
    note: str | None = None

    def view(self, *, whole: bool = True) -> dict[str, Any]:
        """Return it as it is shown: ``whole`` to administrators, to others without who and what is behind it."""
        return {
            "state": self.state,
            "run_id": (self.run_id or None) if whole else None,
            "requested_by": (self.requested_by_name or None) if whole else None,
            "requested_at": self.requested_at,
            "expires_at": self.expires_at,
            "note": self.note if whole else None,
        }


class Failure(NamedTuple):
    """Why the last approval failed, and when (ISO 8601 text in UTC)."""

    message: str
    at: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A candidate as it is stored. Times are ISO 8601 text in UTC."""

    candidate_id: str
    tenant_id: str
    company_name: str
    contact_email: str
    phone: str | None
    products: tuple[str, ...]
    truck_count: int
    capacity_tons_per_day: int
    location: str | None
    status: str
    provider_id: int | None
    version: int
    rejection_reason: str | None
    created_at: str
    updated_at: str
    approval: Approval | None = field(default=None)
    failure: Failure | None = field(default=None)

    def view(self, *, whole: bool = True) -> dict[str, Any]:
        """Return it as it is shown; why an approval failed is for administrators, too: see ``Approval.view``."""
        return {
            "candidate_id": self.candidate_id,
            "company_name": self.company_name,
            "contact_email": self.contact_email,
            "phone": self.phone,
            "products": list(self.products),
            "truck_count": self.truck_count,
            "capacity_tons_per_day": self.capacity_tons_per_day,
            "location": self.location,
            "status": self.status,
            "provider_id": self.provider_id,
            "version": self.version,
            "rejection_reason": self.rejection_reason,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "approval": None if self.approval is None else self.approval.view(whole=whole),
            "last_approval_error": self.failure._asdict() if self.failure is not None and whole else None,
        }


def fresh(candidate_id: str, tenant_id: str, wanted: NewCandidate, now: str) -> Candidate:
    """Return a candidate as it is when it has just registered."""
    return Candidate(candidate_id, tenant_id, *wanted, Status.PENDING, None, 1, None, now, now)


def as_json(products: tuple[str, ...]) -> str:
    """Return products as the column keeps them."""
    return orjson.dumps(products).decode()


class Approved(NamedTuple):
    """An approval came to its end: billing knows the provider."""

    candidate_id: str
    provider_id: int


class Pending(NamedTuple):
    """An approval that goes on: it waits for billing, for a second administrator, or for a person to look."""

    candidate_id: str
    approval: Approval


Outcome = Approved | Pending


class Approvals(Protocol):
    """Who approves candidates."""

    async def approve(self, actor: Actor, candidate_id: str, *, version: int | None, wait: bool) -> Outcome:
        """Approve a candidate: exactly one provider comes to be, or none.

        Args:
            actor: an administrator.
            candidate_id: which.
            version: the version it must have, where the caller says one.
            wait: whether to wait for the end, and give up when billing stays away; else it goes on until billing
                is back.

        Raises:
            CandidateNotFound: there is none.
            AlreadyDecided: it is approved or rejected.
            Modified: it has another version, or somebody else is approving it; or this administrator is the first
                of two.
            BillingFailed: billing refuses, or stays away past the retries; it is pending again.
        """
        ...

    async def review(
        self, actor: Actor, candidate_id: str, *, version: int | None, provider_id: int | None
    ) -> Candidate:
        """Settle an approval that needs a person, or give up one that waits.

        One that waits for billing is given up when its call has ended: the candidate is pending again where billing
        has certainly made no provider, else it needs a person. What is returned still waits where that takes long.

        Args:
            actor: an administrator.
            candidate_id: which.
            version: the version it must have, where the caller says one.
            provider_id: the provider at billing that is this candidate's; None gives the approval up.

        Raises:
            CandidateNotFound: there is none.
            AlreadyDecided: it is approved or rejected.
            Conflict: it has another version, does not need a person, or another candidate has this provider.
        """
        ...
