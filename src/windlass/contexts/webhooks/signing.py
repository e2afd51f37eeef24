"""Signatures of webhooks.

Three schemes. ``v1`` signs ``{timestamp}.{body}``; ``v0`` is the old form of the webhook step, over the body alone;
``standard`` is that of Standard Webhooks. While a secret is being changed two are live: v1 and v0 carry the newer one's
signature under the usual name and the older one's beside it, ``standard`` lists both in its header.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from windlass.contexts.outbound.api import variable_part

Scheme = Literal["v1", "v0", "standard"]
SCHEMES: tuple[str, ...] = get_args(Scheme)

SIGNATURE = "X-Workflows-Signature"
PREVIOUS = "X-Workflows-Signature-Previous"
HUB = "X-Hub-Signature-256"
VERSION = "X-Workflows-Signature-Version"
KEY_ID = "X-Workflows-Key-Id"
TIMESTAMP = "X-Signature-Timestamp"
WEBHOOK_ID = "X-Webhook-ID"
SIGNING_HEADERS = frozenset(
    name.lower()
    for name in (
        SIGNATURE, PREVIOUS, HUB, VERSION, KEY_ID, TIMESTAMP, WEBHOOK_ID, "webhook-id", "webhook-timestamp",
        "webhook-signature",
    )
)  # fmt: skip
"""Every header that says who signed, in lower case."""

_STANDARD_SECRET = "whsec_"  # noqa: S105  the mark of one
_LOOKS_LIKE_V1 = re.compile(rb"\d{1,20}\.")


@dataclass(frozen=True, slots=True)
class Secrets:
    """The operator's secrets: one, or the newer and the older; ``tenants`` have some of their own instead."""

    shared: tuple[str, ...] = field(default=(), repr=False)
    tenants: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def of(self, tenant: str) -> tuple[str, ...]:
        """Return the secrets for a tenant, the newer first; empty when webhooks are not signed."""
        return self.tenants.get(variable_part(tenant), self.shared)


def signature(secret: str, timestamp: int | None, body: bytes) -> str:
    """Return the lower-case hexadecimal HMAC-SHA256 of ``{timestamp}.{body}``, or of the body without a timestamp."""
    signed = body if timestamp is None else f"{timestamp}.".encode() + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def key_id(secret: str) -> str:
    """Return a name for a secret that tells nothing of it: receivers see by it which one is meant."""
    return hmac.new(secret.encode(), b"windlass webhook key id", hashlib.sha256).hexdigest()[:8]


def headers(scheme: str, secrets: Sequence[str], *, webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers that identify and sign a webhook.

    Args:
        scheme: one of ``SCHEMES``.
        secrets: the newer first; without any nothing is signed.
        webhook_id: the same for every attempt.
        timestamp: Unix seconds of this attempt.
        body: exactly what is sent.
    """
    if scheme == "standard":
        return _standard(secrets, webhook_id, timestamp, body)
    if scheme == "v0":
        return _hex(secrets, None, body)
    told = {TIMESTAMP: str(timestamp), WEBHOOK_ID: webhook_id, VERSION: "v1"}
    return told | _hex(secrets, timestamp, body)


def confusable(body: bytes) -> bool:
    """Say whether a v0 signature of this body would also be a v1 signature of another one."""
    return _LOOKS_LIKE_V1.match(body) is not None


def _hex(secrets: Sequence[str], timestamp: int | None, body: bytes) -> dict[str, str]:
    if not secrets:
        return {}
    newer = signature(secrets[0], timestamp, body)
    told = {SIGNATURE: newer, HUB: f"sha256={newer}"}
    if len(secrets) > 1:
        told |= {PREVIOUS: signature(secrets[1], timestamp, body)}
        told |= {KEY_ID: ",".join(key_id(secret) for secret in secrets)}
    return told


def _standard(secrets: Sequence[str], webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    told = {"webhook-id": webhook_id, "webhook-timestamp": str(timestamp)}
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    if secrets:
        told["webhook-signature"] = " ".join(f"v1,{_standard_signature(secret, signed)}" for secret in secrets)
    return told


def _standard_signature(secret: str, signed: bytes) -> str:
    return base64.b64encode(hmac.new(_standard_key(secret), signed, hashlib.sha256).digest()).decode()


def _standard_key(secret: str) -> bytes:
    """Return the bytes of a secret: ``whsec_`` is followed by base64, anything else is taken as it is."""
    if secret.startswith(_STANDARD_SECRET):
        try:
            return base64.b64decode(secret.removeprefix(_STANDARD_SECRET), validate=True)
        except (binascii.Error, ValueError):
            pass
    return secret.encode()
