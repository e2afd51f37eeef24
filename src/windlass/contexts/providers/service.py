"""What can be done with candidates, but for their approval. The door for others is ``api``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from windlass.contexts.providers import listing, rows
from windlass.contexts.providers.intake import read_changes, read_new
from windlass.contexts.providers.listing import ListQuery, Page
from windlass.contexts.providers.model import Candidate, CandidateNotFound, EmailTaken, NewCandidate, fresh
from windlass.engine.engine import Engine
from windlass.engine.ports import IdempotencyRow, Transaction
from windlass.kernel.actors import Actor
from windlass.kernel.clock import SECOND, to_iso
from windlass.kernel.errors import Conflict, WindlassError
from windlass.kernel.ids import new_id

Audit = Callable[[Transaction, Actor, str, str, object, object], None]
"""Writes into the audit log: who, the action, its target, what was before and is after."""


@dataclass(frozen=True, slots=True)
class Rules:
    """``products``: what a candidate may offer; ``key_seconds``: how long an Idempotency-Key is remembered."""

    products: tuple[str, ...]
    key_seconds: float = 7 * 86400


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

    async def create(self, tenant_id: str, fields: Mapping[str, Any], key: str | None = None) -> Candidate:
        """Register a candidate; it is on disk when this returns.

        Args:
            tenant_id: whose it is.
            fields: of the body.
            key: an Idempotency-Key; a repeated request gets the first one's answer.

        Raises:
            ValidationFailed: a field is wrong; names each.
            EmailTaken: another one has its e-mail address.
            Conflict: the key was used with another request.
        """
        wanted = read_new(fields, self.rules.products)
        now, candidate_id = self._engine.clock.now(), new_id()

        def write(tx: Transaction) -> Candidate:
            chosen = candidate_id if key is None else self._owner(tx, tenant_id, key, wanted, candidate_id, now)
            found = None if chosen == candidate_id else rows.get(tx.connection, chosen)
            if found is not None:
                return fresh(chosen, tenant_id, wanted, found.created_at)
            rows.insert(tx, chosen, tenant_id, wanted, now)
            return fresh(chosen, tenant_id, wanted, to_iso(now))

        return await self._engine.transact(write)

    def _owner(
        self, tx: Transaction, tenant_id: str, key: str, wanted: NewCandidate, candidate_id: str, now: int
    ) -> str:
        """Return the candidate of an Idempotency-Key: what was registered with it before, or from now on this one."""
        scope = f"candidates.create:{tenant_id}"
        told = hashlib.blake2b(orjson.dumps(wanted._asdict()), digest_size=16).hexdigest()
        mine = IdempotencyRow(scope, key, candidate_id, told, now + int(self.rules.key_seconds * SECOND))
        row = tx.claim_keys([mine], now)[scope, key]
        if row.request_hash != told:
            raise Conflict("Idempotency-Key was used with another request", idempotency_key=key)
        return row.run_id

    async def get(self, tenant_id: str, candidate_id: str) -> Candidate:
        """Return a candidate.

        Raises:
            CandidateNotFound: there is none.
        """
        found = await self._engine.read(lambda connection: rows.get(connection, candidate_id, tenant_id))
        if found is None:
            raise CandidateNotFound
        return found

    async def page(self, query: ListQuery) -> Page:
        """Return a page of candidates, newest first."""
        return await self._engine.read(lambda connection: listing.page(connection, query))

    async def change(
        self, actor: Actor, candidate_id: str, fields: Mapping[str, Any], *, version: int | None
    ) -> Candidate:
        """Change some fields of a candidate.

        Raises:
            ValidationFailed: a field is wrong; names each.
            CandidateNotFound: there is none.
            Modified: it has another version, or somebody is approving it.
            EmailTaken: another one has the new e-mail address.
        """
        changes = read_changes(fields, self.rules.products)
        now = self._engine.clock.now()

        def write(tx: Transaction) -> Candidate:
            before = rows.have(tx.connection, candidate_id, actor.tenant_id)
            after = rows.change(tx, actor.tenant_id, candidate_id, version, changes, now)
            self._audit(tx, actor, "candidate.change", f"candidate:{candidate_id}", before.view(), after.view())
            return after

        try:
            return await self._engine.transact(write)
        except WindlassError:
            raise
        except Exception as error:
            email = changes.get("contact_email")
            if email is not None and await self._engine.read(lambda at: rows.has_email(at, email, candidate_id)):
                raise EmailTaken from error
            raise

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
            told = {"status": done.status, "rejection_reason": reason}
            self._audit(tx, actor, "candidate.reject", f"candidate:{candidate_id}", {"status": "pending"}, told)
            return done

        return await self._engine.transact(write)
