"""What can be done with candidates, but for their approval. The door for others is ``api``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from windlass.contexts.providers import rows
from windlass.contexts.providers.model import Candidate, CandidateNotFound, NewCandidate, fresh
from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.kernel.actors import Actor
from windlass.kernel.clock import to_iso
from windlass.kernel.ids import new_id

Audit = Callable[[Transaction, Actor, str, str, object, object], None]
"""Writes into the audit log: who, the action, its target, what was before and is after."""


@dataclass(frozen=True, slots=True)
class Rules:
    """``products``: what a candidate may offer."""

    products: tuple[str, ...]


class Candidates:
    """Candidates of one database.

    Args:
        engine: its database and clock.
        rules: what a candidate may offer.
        audit: writes into the audit log what administrators do, in the transaction that does it.
    """

    def __init__(self, engine: Engine, rules: Rules, audit: Audit) -> None:
        self.rules = rules
        self._engine = engine
        self._audit = audit

    async def create(self, tenant_id: str, wanted: NewCandidate) -> Candidate:
        """Register a candidate; it is on disk when this returns.

        Raises:
            EmailTaken: another one has its e-mail address.
        """
        now, candidate_id = self._engine.clock.now(), new_id()
        await self._engine.transact(lambda tx: rows.insert(tx, candidate_id, tenant_id, wanted, now))
        return fresh(candidate_id, tenant_id, wanted, to_iso(now))

    async def get(self, tenant_id: str, candidate_id: str) -> Candidate:
        """Return a candidate.

        Raises:
            CandidateNotFound: there is none.
        """
        found = await self._engine.read(lambda connection: rows.get(connection, candidate_id, tenant_id))
        if found is None:
            raise CandidateNotFound
        return found

    async def reject(self, actor: Actor, candidate_id: str, *, version: int | None, reason: str | None) -> Candidate:
        """Reject a candidate.

        Raises:
            CandidateNotFound: there is none.
            AlreadyDecided: it is approved or rejected.
            Modified: it has another version, or somebody is approving it.
        """
        now = self._engine.clock.now()

        def write(tx: Transaction) -> Candidate:
            done = rows.reject(tx, actor.tenant_id, candidate_id, version, reason, now)
            self._audit(tx, actor, "candidate.reject", f"candidate:{candidate_id}", None, done.view())
            return done

        return await self._engine.transact(write)
