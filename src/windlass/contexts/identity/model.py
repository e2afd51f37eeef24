"""Users, keys and tokens as others see them, and what may be their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from windlass.kernel.actors import PERMISSIONS, RUNS_CONTROL, RUNS_READ, Actor, could_be_id, fold
from windlass.kernel.errors import Invalid

ROLES = ("user", "admin")
USUAL_PERMISSIONS = (RUNS_READ, RUNS_CONTROL)
"""What a new user may do when nothing else is said."""
SCOPE = "workflows"
"""The scope of tokens for everything under ``/api/v1``."""
NAME_LENGTH = 255
PASSWORD_LENGTHS = (8, 1024)
"""The shortest password in characters, and the longest in bytes."""
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

KEEPER = Actor("api-key", "api-key", role="admin", kind="api_key")
"""Who carries the API key."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How callers are recognised.

    Times are in seconds. ``api_key`` and the keys of tokens are None where they are not set; ``jwt_previous_key`` reads
    tokens and signs none. A login can be refreshed for ``session_seconds``; ``cache_seconds`` is how long a revoked
    key, a disabled user or an ended login may still be let in by a process that has just seen them.
    """

    api_key: bytes | None = None
    development: bool = True
    single_user: bool = False
    jwt_key: bytes | None = None
    jwt_previous_key: bytes | None = None
    token_seconds: float = 1800
    session_seconds: float = 14 * 86400
    cache_seconds: float = 5.0
    hashes_at_once: int = 2

    @property
    def open(self) -> bool:
        """Whether callers without a credential are let in as the developer."""
        return self.development and self.api_key is None


@dataclass(frozen=True, slots=True)
class User:
    """A user without the password. ``version`` tells tokens of before a change of password from later ones.

    A ``seeded`` one has the password that everybody knows: it is nobody outside development.
    """

    user_id: str
    tenant_id: str
    username: str
    role: str
    permissions: tuple[str, ...]
    is_active: bool
    version: int
    created_at: str
    updated_at: str
    last_login_at: str | None
    seeded: bool = False

    def shown(self) -> dict[str, Any]:
        """Return what is printed and kept in the audit log."""
        return {
            "user_id": self.user_id,
            "username": self.username,
            "tenant_id": self.tenant_id,
            "role": self.role,
            "permissions": list(self.permissions),
            "is_active": self.is_active,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "last_login_at": self.last_login_at,
        }


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """A service key without its secret; ``expires_at`` is in microseconds."""

    key_id: str
    tenant_id: str
    label: str
    permissions: tuple[str, ...]
    created_at: str
    created_by: str
    expires_at: int | None
    revoked_at: str | None

    def works(self, now: int) -> bool:
        """Say whether it is good at a time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    @property
    def actor(self) -> Actor:
        """Who carries it."""
        permissions = frozenset(self.permissions)
        return Actor(f"key:{self.key_id}", self.label, self.tenant_id, "user", permissions, "service_key")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token narrows its bearer down to; None where it says nothing. ``expires_at`` is in seconds."""

    jti: str
    expires_at: float
    scope: str | None = None
    schedule_id: str | None = None
    endpoints: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    paths: tuple[str, ...] | None = None
    max_runs: int | None = None
    max_calls: int | None = None


class Caller(NamedTuple):
    """Who calls, and what its token narrows it down to, if anything."""

    actor: Actor
    grant: Grant | None = None


class Token(NamedTuple):
    """A bearer token, the seconds for which it is good, and what gets the next one."""

    access_token: str
    expires_in: int
    refresh_token: str


@dataclass(frozen=True, slots=True)
class VirtualKey:
    """A wanted virtual key; see ``Grant``."""

    ttl_minutes: int = 60
    scope: str = SCOPE
    schedule_id: str | None = None
    allowed_endpoints: Sequence[str] | None = None
    allowed_methods: Sequence[str] | None = None
    allowed_paths: Sequence[str] | None = None
    max_runs: int | None = None
    max_calls: int | None = None


class Minted(NamedTuple):
    """A virtual key; ``expires_at`` is ISO 8601."""

    token: str
    expires_at: str
    scope: str
    schedule_id: str | None


def check_username(name: str) -> str:
    """Return a user's name unchanged.

    Raises:
        Invalid: it is not 1 to 255 printable characters without spaces around it, or could be taken for an id.
    """
    folded = fold(name)
    if not (1 <= len(name) <= NAME_LENGTH and name.isprintable() and name == name.strip() and folded.isprintable()):
        message = f"a user name is 1 to {NAME_LENGTH} printable characters without spaces around them"
        raise Invalid(message, field="username")
    if could_be_id(name):
        message = (
            f"{name!r} could be taken for the id of somebody else: a user name has more than digits in it, and is "
        )
        raise Invalid(f"{message}not api-key, dev, operator, key:… or role:…", field="username")
    return name


def check_label(label: str) -> str:
    """Return a key's name unchanged.

    Raises:
        Invalid: it is not 1 to 255 printable characters.
    """
    if not (1 <= len(label) <= NAME_LENGTH and label.isprintable()):
        raise Invalid(f"a key's name is 1 to {NAME_LENGTH} printable characters", field="name")
    return label


def check_password(password: str) -> str:
    """Return a password unchanged.

    Raises:
        Invalid: it is too short or too long.
    """
    least, most = PASSWORD_LENGTHS
    if len(password) < least or len(password.encode(errors="replace")) > most:
        raise Invalid(f"a password has {least} characters or more, and at most {most} bytes", field="password")
    return password


def check_tenant(tenant_id: str) -> str:
    """Return a tenant's id unchanged.

    Raises:
        Invalid: it is not 1 to 100 letters, digits and ``_ . -``.
    """
    if not _TENANT.fullmatch(tenant_id):
        raise Invalid(
            "a tenant is 1 to 100 letters, digits and _ . -, beginning with one of the first two", field="tenant"
        )
    return tenant_id


def check_role(role: str) -> str:
    """Return a role unchanged.

    Raises:
        Invalid: there is no such role.
    """
    if role not in ROLES:
        raise Invalid(f"there is no role {role!r}: the roles are {', '.join(ROLES)}", field="role")
    return role


def check_permissions(names: Iterable[str]) -> tuple[str, ...]:
    """Return permissions in order, each once.

    Raises:
        Invalid: one is none; names it.
    """
    found = set(names)
    for name in sorted(found):
        if name not in PERMISSIONS:
            known = ", ".join(PERMISSIONS)
            raise Invalid(f"there is no permission {name!r}: there are {known}", field="permissions")
    return tuple(sorted(found))
