"""The door to webhooks: what the edges and other contexts may use."""

from __future__ import annotations

from windlass.contexts.webhooks.letters import LetterNotFound, Wanted
from windlass.contexts.webhooks.model import Completion, Delivery, Describe, Options, category
from windlass.contexts.webhooks.service import COUNT_BOUND, Many, Replayed, Webhooks
from windlass.contexts.webhooks.signing import SCHEMES, SIGNING_HEADERS, Secrets, confusable, headers, signature
from windlass.contexts.webhooks.tasks import COMPLETE, WORKFLOWS

__all__ = [
    "COMPLETE",
    "COUNT_BOUND",
    "SCHEMES",
    "SIGNING_HEADERS",
    "WORKFLOWS",
    "Completion",
    "Delivery",
    "Describe",
    "LetterNotFound",
    "Many",
    "Options",
    "Replayed",
    "Secrets",
    "Wanted",
    "Webhooks",
    "category",
    "confusable",
    "headers",
    "signature",
]
