"""What is told to the audit log of definitions and runs. Contract 1.0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.engine.types import RunView
from windlass.kernel.actors import Actor


class Audit(Protocol):
    """Hears of every change inside its transaction, and of what was refused.

    ``action`` is ``workflow.create``, ``create_version``, ``delete``, ``activate``, ``rollback``, ``run_saved``,
    ``run_adhoc``, ``admin_override`` or ``denied`` (each behind ``workflow.``), or behind ``run.`` a control call,
    ``fork``, ``supply``, ``admin_override`` or ``denied``; ``target`` is ``workflow:<id>`` or ``run:<id>``; ``before``
    and ``after`` are JSON.
    """

    def __call__(
        self,
        tx: Transaction,
        actor: Actor,
        action: str,
        target: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        """Record one thing."""
        ...


def unheard(
    tx: Transaction,
    actor: Actor,
    action: str,
    target: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> None:
    """Keep no audit log."""


class Trail:
    """What callers do with runs, told to an audit log.

    Args:
        engine: writes it.
        audit: the log; None keeps none.
    """

    def __init__(self, engine: Engine, audit: Audit | None) -> None:
        self._engine = engine
        self._audit = audit or unheard
        self._kept = audit is not None

    def did(
        self,
        tx: Transaction,
        actor: Actor,
        action: str,
        run_id: str,
        owner: str | None,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        """Tell in an open transaction what a caller did with a run, and that it was not its own where that is so."""
        noun, _, verb = action.partition(".")
        self._audit(tx, actor, action, f"run:{run_id}", before, after)
        if owner not in {None, actor.user_id}:
            told = {"action": verb, "owner_id": owner}
            self._audit(tx, actor, f"{noun}.admin_override", f"run:{run_id}", None, told)

    async def denied(self, actor: Actor, run: RunView) -> None:
        """Tell that a caller asked for a run of somebody else."""
        reason = "not_owner" if actor.tenant_id == run.tenant_id else "tenant_mismatch"
        await self.note(actor, "run.denied", f"run:{run.run_id}", {"reason": reason})

    async def note(self, actor: Actor, action: str, target: str, told: Mapping[str, Any]) -> None:
        """Tell of something that changes nothing."""
        if self._kept:
            audit = self._audit
            await self._engine.transact(lambda tx: audit(tx, actor, action, target, None, told))
