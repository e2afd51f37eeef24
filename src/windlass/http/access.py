"""What a route asks of its caller: said where the route is, and made sure of before its handler is called.

Every route below ``/api/v1/`` has one; who says nothing gets ``ANYBODY``, and a test names the route.
"""

from __future__ import annotations

from dataclasses import dataclass

from windlass.kernel.actors import Actor, Forbidden

GUARDED = "/api/v1/"
"""Below this every caller is known."""
ADMIN_ROLE = "Access denied. Required role(s): admin"


@dataclass(frozen=True, slots=True)
class Access:
    """What a caller must have.

    ``endpoint`` is the id by which a token may name the route, and makes it one that looks at a token's schedule;
    ``runs`` says that a call starts a run, which counts against a token's quota of them. With ``bearer`` a caller needs
    a token even where nobody else is asked for a credential; ``refusal`` is what is told to who is no administrator.
    """

    permissions: tuple[str, ...] = ()
    admin: bool = False
    public: bool = False
    endpoint: str | None = None
    runs: bool = False
    bearer: bool = False
    refusal: str = ADMIN_ROLE

    def admit(self, actor: Actor) -> None:
        """Let a caller pass.

        Raises:
            Forbidden: a permission or the role is missing; names it.
        """
        for permission in self.permissions:
            actor.require(permission)
        if self.admin and not actor.is_admin:
            raise Forbidden(self.refusal)


NOBODY = Access(public=True)
"""Nobody is asked for: a health check."""
ANYBODY = Access()
"""Whoever has a credential."""
ADMIN = Access(admin=True)
"""Administrators of a tenant."""


def needs(*permissions: str, admin: bool = False) -> Access:
    """Return what asks for permissions, and with ``admin`` for the role too."""
    return Access(permissions, admin)


def scoped(endpoint: str, *permissions: str, runs: bool = False) -> Access:
    """Return what a token can be narrowed down to by its ``allowed_endpoints`` and ``schedule_id``.

    Args:
        endpoint: the route's id, such as ``workflows.run_saved``.
        permissions: what is asked for besides.
        runs: whether a call starts a run.
    """
    return Access(permissions, endpoint=endpoint, runs=runs)
