"""Bodies and answers of candidates, as they are read and as the OpenAPI document describes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from windlass.contexts.providers.api import MOST_COUNT, NAME_LENGTH, PHONE_LENGTH, REASON_LENGTH
from windlass.http.bodies import Field, media, text
from windlass.http.schemas import Shape

MOST_NUMBER = 2**63 - 1


class ApprovalAnswer(Shape):
    """An approval under way; ``note`` says what a person must look at.

    ``run_id``, ``requested_by`` and ``note`` are for administrators; everybody else is answered null.
    """

    state: Literal["awaiting_second", "approving", "waiting_for_billing", "needs_review"]
    run_id: str | None
    requested_by: str | None
    requested_at: datetime
    expires_at: datetime | None
    note: str | None


class FailureAnswer(Shape):
    """Why an approval failed, and when."""

    message: str
    at: datetime


class CandidateAnswer(Shape):
    """A candidate; it is ``pending`` as long as an ``approval`` is under way.

    ``last_approval_error`` stays until the next approval begins; it is for administrators, everybody else is answered
    null.
    """

    candidate_id: str
    company_name: str
    contact_email: str
    phone: str | None
    products: list[str]
    truck_count: int
    capacity_tons_per_day: int
    location: str | None
    status: Literal["pending", "approved", "rejected"]
    provider_id: int | None
    version: int
    rejection_reason: str | None
    created_at: datetime
    updated_at: datetime
    approval: ApprovalAnswer | None
    last_approval_error: FailureAnswer | None


class PaginationAnswer(Shape):
    """Where a page is: how many there are in all, how many a page holds, and how many come before it."""

    total: int
    limit: int
    offset: int


class CandidatesAnswer(Shape):
    """A page of candidates, newest first."""

    candidates: list[CandidateAnswer]
    pagination: PaginationAnswer


class ApprovedAnswer(Shape):
    """An approved candidate, and its provider at billing."""

    candidate_id: str
    status: Literal["approved"]
    provider_id: int


class ApprovingAnswer(Shape):
    """An approval that goes on."""

    candidate_id: str
    status: Literal["pending"]
    approval: ApprovalAnswer


class RejectedAnswer(Shape):
    """A rejected candidate."""

    candidate_id: str
    status: Literal["rejected"]
    rejection_reason: str | None


def _approved(given: Any) -> str | None:
    return None if given else "Input should be true: POST …/reject rejects a candidate"


def _released(given: Any) -> str | None:
    return None if given else "Input should be true"


VERSION = Field({"type": "integer", "minimum": 1, "maximum": MOST_NUMBER})
_COUNT = {"type": "integer", "minimum": 1, "maximum": MOST_COUNT}
FIELDS = {
    "company_name": Field(text(NAME_LENGTH), required=True),
    "contact_email": Field(text(NAME_LENGTH, format="email"), required=True),
    "phone": Field(text(PHONE_LENGTH, least=0)),
    "products": Field(
        {"type": "array", "items": {"$ref": "#/components/schemas/Product"}, "minItems": 1, "uniqueItems": True},
        required=True,
    ),
    "truck_count": Field(_COUNT, required=True),
    "capacity_tons_per_day": Field(_COUNT, required=True),
    "location": Field(text(NAME_LENGTH, least=0)),
}
"""What a registration holds; ``contexts.providers.intake`` reads it."""
CHANGES = {name: Field(field.schema) for name, field in FIELDS.items()} | {"version": VERSION}
APPROVE = {"approved": Field({"type": "boolean"}, check=_approved), "version": VERSION}
_REASON = Field(text(REASON_LENGTH, least=0))
REJECT = {"reason": _REASON, "rejection_reason": _REASON, "version": VERSION}
REVIEW = {
    "provider_id": Field({"type": "integer", "minimum": 1, "maximum": MOST_NUMBER}),
    "release": Field({"type": "boolean"}, check=_released),
    "version": VERSION,
}
NEW_BODY, CHANGE_BODY, APPROVE_BODY, REJECT_BODY, REVIEW_BODY = map(media, (FIELDS, CHANGES, APPROVE, REJECT, REVIEW))
