"""The door to providers: what the edges and the composition root may use."""

from __future__ import annotations

from dataclasses import dataclass

from windlass.contexts.providers.model import (
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
)
from windlass.contexts.providers.service import Candidates, Rules


@dataclass(frozen=True, slots=True)
class Providers:
    """Candidates of one database, and who approves them."""

    candidates: Candidates
    approvals: Approvals


__all__ = [
    "AlreadyDecided",
    "Approval",
    "Approvals",
    "Approved",
    "BillingFailed",
    "Candidate",
    "CandidateNotFound",
    "Candidates",
    "EmailTaken",
    "Modified",
    "Outcome",
    "Pending",
    "Providers",
    "Rules",
]
