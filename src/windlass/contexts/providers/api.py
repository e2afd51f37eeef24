"""The door to providers: what the edges and the composition root may use."""

from __future__ import annotations

from dataclasses import dataclass

from windlass.contexts.providers.approvals import ApprovalRules, Sagas
from windlass.contexts.providers.billing import Billing, BillingClient, BillingOptions
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
    ApprovalState,
    Approved,
    BillingFailed,
    Candidate,
    CandidateNotFound,
    EmailTaken,
    Modified,
    NoReview,
    Outcome,
    Pending,
    ProviderTaken,
    SecondNeeded,
    Status,
)
from windlass.contexts.providers.outcomes import Parts
from windlass.contexts.providers.service import Candidates, Rules


@dataclass(frozen=True, slots=True)
class Providers:
    """Candidates of one database, and who approves them."""

    candidates: Candidates
    approvals: Approvals
    billing: BillingClient


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
    "ApprovalRules",
    "ApprovalState",
    "Approvals",
    "Approved",
    "Billing",
    "BillingClient",
    "BillingFailed",
    "BillingOptions",
    "Candidate",
    "CandidateNotFound",
    "Candidates",
    "EmailTaken",
    "ListQuery",
    "Modified",
    "NoReview",
    "Outcome",
    "Page",
    "Parts",
    "Pending",
    "ProviderTaken",
    "Providers",
    "Rules",
    "Sagas",
    "SecondNeeded",
    "Status",
]
