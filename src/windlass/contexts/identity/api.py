"""The door to identity: what the edges and other contexts may use."""

from __future__ import annotations

from windlass.contexts.identity.audit import AuditQuery, Verdict
from windlass.contexts.identity.errors import MISSING, UNKNOWN, WRONG_PASSWORD, NotAuthenticated, TooManyLogins
from windlass.contexts.identity.members import PAGE, Added, AddedKey
from windlass.contexts.identity.members import shown as shown_key
from windlass.contexts.identity.model import (
    KEEPER,
    NAME_LENGTH,
    PASSWORD_LENGTHS,
    ROLES,
    SCOPE,
    USUAL_PERMISSIONS,
    Caller,
    Grant,
    Minted,
    Rules,
    ServiceKey,
    Token,
    User,
    VirtualKey,
)
from windlass.contexts.identity.provider import Provider
from windlass.contexts.identity.quotas import EXCEEDED
from windlass.contexts.identity.seeds import NAME as DEVELOPMENT_USER
from windlass.contexts.identity.seeds import PASSWORD as DEVELOPMENT_PASSWORD
from windlass.contexts.identity.service import Identity
from windlass.contexts.identity.vouched import COOKIE_SECONDS

__all__ = [
    "COOKIE_SECONDS",
    "DEVELOPMENT_PASSWORD",
    "DEVELOPMENT_USER",
    "EXCEEDED",
    "KEEPER",
    "MISSING",
    "NAME_LENGTH",
    "PAGE",
    "PASSWORD_LENGTHS",
    "ROLES",
    "SCOPE",
    "UNKNOWN",
    "USUAL_PERMISSIONS",
    "WRONG_PASSWORD",
    "Added",
    "AddedKey",
    "AuditQuery",
    "Caller",
    "Grant",
    "Identity",
    "Minted",
    "NotAuthenticated",
    "Provider",
    "Rules",
    "ServiceKey",
    "Token",
    "TooManyLogins",
    "User",
    "Verdict",
    "VirtualKey",
    "shown_key",
]
