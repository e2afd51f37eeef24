"""Who is asking: what every context may know of a caller, however the edge found out."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field

from windlass.kernel.errors import Kind, WindlassError

RUNS_READ = "workflows.runs.read"
RUNS_CONTROL = "workflows.runs.control"
WORKFLOWS_ADMIN = "workflows.admin"
EVERYTHING = frozenset({"*", "system.configure"})
"""Permissions that include all others."""
PERMISSIONS = {
    RUNS_READ: "look at runs, their events, steps and artifacts",
    RUNS_CONTROL: "pause, resume, cancel and retry runs; approve and reject steps",
    WORKFLOWS_ADMIN: "see and control what others own in the tenant; the effective settings",
    "system.configure": "everything",
    "*": "everything",
}
"""Every permission that can be granted, with what it is for; a context that asks for one of its own adds it here."""


ROLE = "role:"
"""Begins the name that stands for everybody of a role."""
_IDS = frozenset({"api-key", "dev", "operator"})
"""Ids of callers that are no users."""


def fold(username: str) -> str:
    """Return a user's name as names are compared: without regard to case and width."""
    return unicodedata.normalize("NFKC", username).casefold()


def could_be_id(name: str) -> bool:
    """Say whether a name could be taken for somebody's id, or for a role, and so may be no user's name."""
    folded = fold(name)
    return folded.isdigit() or folded in _IDS or folded.startswith((ROLE, "key:"))


class Forbidden(WindlassError):
    """The caller is known and may not do this."""

    code = "FORBIDDEN"
    kind = Kind.FORBIDDEN


@dataclass(frozen=True, slots=True)
class Actor:
    """A caller.

    ``kind`` says how it was recognised: ``dev`` (nobody asked), ``api_key``, ``service_key``, ``user`` (a token of a
    login), ``virtual_key`` or ``operator`` (the command line on the database itself). ``user_id`` owns what the caller
    creates; ``permissions`` are the granted ones alone, without what the role adds. ``request_id`` is that of the
    request it calls with, for the audit log; it tells no actor from another.
    """

    user_id: str
    username: str
    tenant_id: str = "default"
    role: str = "user"
    permissions: frozenset[str] = frozenset()
    kind: str = "user"
    request_id: str | None = field(default=None, compare=False)

    @property
    def is_admin(self) -> bool:
        """Whether nothing is closed to it within its tenant."""
        return self.role == "admin" or bool(self.permissions & EVERYTHING)

    @property
    def administers_workflows(self) -> bool:
        """Whether it may see and control what others own in its tenant."""
        return self.is_admin or WORKFLOWS_ADMIN in self.permissions

    def may(self, permission: str) -> bool:
        """Say whether a permission is granted."""
        return self.is_admin or permission in self.permissions

    def require(self, permission: str) -> None:
        """Make sure of a permission.

        Raises:
            Forbidden: it is not granted; names it.
        """
        if not self.may(permission):
            raise Forbidden(f"Permission denied: missing {permission}")

    def owns(self, tenant_id: str, owner: str | None) -> bool:
        """Say whether something of a tenant and an owner exists for this caller at all."""
        return tenant_id == self.tenant_id and (owner == self.user_id or self.administers_workflows)


DEVELOPER = Actor("dev", "dev", role="admin", kind="dev")
"""Every caller where no key is asked for."""
