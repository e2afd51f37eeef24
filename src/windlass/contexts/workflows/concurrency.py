"""Who may look at limits and change them: operators all of them, workflows admins those within their tenant."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.kernel.actors import WORKFLOWS_ADMIN, Actor, Forbidden
from windlass.kernel.errors import Invalid, NotFound
from windlass.storage.limits import LimitView, change_limit, limits, stored

Audit = Callable[[Transaction, Actor, str, str, object, object], None]
"""Writes into the audit log: who, the action, its target, what was before and is after."""
OPERATORS = frozenset({"operator", "api_key", "dev"})
"""The kinds of callers who answer for the installation: what a tenant as a whole may have is theirs to say."""


class Concurrency:
    """Limits of runs of definitions."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._audit: Audit = lambda *_: None

    def audit_with(self, audit: Audit) -> None:
        """Say who writes the audit log."""
        self._audit = audit

    async def all(self, actor: Actor) -> list[LimitView]:
        """Return the limits that are set or in use; a workflows admin sees those of its tenant.

        Raises:
            Forbidden: the caller is none.
        """
        actor.require(WORKFLOWS_ADMIN)
        tenant = None if actor.kind in OPERATORS else actor.tenant_id
        return await self._engine.read(lambda connection: limits(connection, self._engine.lanes, tenant))

    async def change(self, actor: Actor, name: str, *, most: int | None, weight: int | None) -> LimitView:
        """Set a limit, a tenant's weight, or both; returns the limit as it is then.

        Raises:
            Forbidden: the caller is no workflows admin, or asks for more for its own tenant.
            NotFound: it is another tenant's.
            Invalid: the name is none, or a number is out of its range.
        """
        self._check(actor, name)
        if most is None and weight is None:
            raise Invalid("say limit, weight or both", field="limit")
        told = self._told(actor, "limit.set", name)
        return await change_limit(self._engine, name, told, most=most, weight=weight)

    async def clear(self, actor: Actor, name: str) -> LimitView:
        """Go back to the settings' limit, and to weight 1; returns the limit as it is then.

        Raises:
            Forbidden, NotFound, Invalid: see ``change``.
        """
        self._check(actor, name)
        return await change_limit(self._engine, name, self._told(actor, "limit.clear", name), clear=True)

    def _told(self, actor: Actor, action: str, name: str) -> Callable[[Transaction, LimitView, LimitView], None]:
        def told(tx: Transaction, before: LimitView, after: LimitView) -> None:
            self._audit(tx, actor, action, f"limit:{name}", _kept(before), _kept(after))

        return told

    @staticmethod
    def _check(actor: Actor, name: str) -> None:
        actor.require(WORKFLOWS_ADMIN)
        tenant, _, inner = stored(name).partition("/")
        if actor.kind in OPERATORS:
            return
        if tenant != quote(actor.tenant_id, ""):
            raise NotFound("Limit not found")
        if not inner:
            raise Forbidden("only an operator of the installation says how much a tenant gets")


def _kept(view: LimitView) -> dict[str, int | None]:
    return {"limit": view.limit if view.set else None, "weight": view.weight}
