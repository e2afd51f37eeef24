"""The door to outbound requests."""

from __future__ import annotations

from windlass.contexts.outbound.client import (
    MOST_BYTES,
    Answer,
    BadHeader,
    Call,
    HostUnknown,
    Outbound,
    OutboundError,
    OutboundTimeout,
    ResponseTooLarge,
    TooManyRedirects,
)
from windlass.contexts.outbound.hosts import is_private, normal_host
from windlass.contexts.outbound.network import Resolver
from windlass.contexts.outbound.policy import Narrower, Policy, Purpose, Refused, host_of, variable_part

__all__ = [
    "MOST_BYTES",
    "Answer",
    "BadHeader",
    "Call",
    "HostUnknown",
    "Narrower",
    "Outbound",
    "OutboundError",
    "OutboundTimeout",
    "Policy",
    "Purpose",
    "Refused",
    "Resolver",
    "ResponseTooLarge",
    "TooManyRedirects",
    "host_of",
    "is_private",
    "normal_host",
    "variable_part",
]
