"""The door to providers: what the edges and the composition root may use."""

from __future__ import annotations

from dataclasses import dataclass

from windlass.contexts.providers.intake import MOST_COUNT
from windlass.contexts.providers.listing import DEFAULT_LIMIT, MAX_LIMIT, ListQuery, Page
from windlass.contexts.providers.model import (
    MODIFIED,
    NAME_LENGTH,
    PHONE_LENGTH,
    REASON_LENGTH,
    AlreadyDecided,
    Approval,
    Approvals,
    Approved,
    BillingFailed,
    Candidate,
    CandidateNotFound,
    EmailTaken,
    Modified,
    Outcome,
    Pending,
    Status,
)
from windlass.contexts.providers.service import Candidates, Rules


@dataclass(frozen=True, slots=True)
class Providers:
    """Candidates of one database, and who approves them."""

    candidates: Candidates
    approvals: Approvals


__all__ = [
    "DEFAULT_LIMIT",
    "MAX_LIMIT",
    "MODIFIED",
    "MOST_COUNT",
    "NAME_LENGTH",
    "PHONE_LENGTH",
    "REASON_LENGTH",
    "AlreadyDecided",
    "Approval",
    "Approvals",
    "Approved",
    "BillingFailed",
    "Candidate",
    "CandidateNotFound",
    "Candidates",
    "EmailTaken",
    "ListQuery",
    "Modified",
    "Outcome",
    "Page",
    "Pending",
    "Providers",
    "Rules",
    "Status",
]
