"""What can be done with webhooks. The door for others is ``api``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, NamedTuple

from windlass.contexts.outbound.api import Outbound, Purpose, Refused
from windlass.contexts.webhooks import letters
from windlass.contexts.webhooks.letters import LetterNotFound, Wanted
from windlass.contexts.webhooks.model import DENIED, Delivery, Describe, Options, category
from windlass.contexts.webhooks.sending import Sender
from windlass.contexts.webhooks.tasks import DELIVER, GONE, REDELIVER, REPLAY_MANY, Parts, define
from windlass.engine.engine import Engine
from windlass.engine.errors import RunCancelled, RunFailed, UnknownRun
from windlass.engine.ports import Transaction
from windlass.kernel.actors import RUNS_CONTROL, RUNS_READ, Actor, Forbidden
from windlass.kernel.errors import Conflict, Invalid, Issue, NotFound, ValidationFailed
from windlass.kernel.ids import new_id
from windlass.kernel.rounds import Rounds
from windlass.kernel.spans import NO_SPANS, Spans

OPERATORS = "default"
"""The tenant whose administrators look after the dead letters of all."""
COUNT_BOUND = 10_000
DISCARD_PAGE = 500
REPLAY_GRACE = 5.0
"""Seconds beyond the time-out of an attempt that a replay is waited for."""


Audit = Callable[[Transaction, Actor, str, str, object, object], None]
"""Writes into the audit log: who, the action, its target, what was before and is after."""


class Replayed(NamedTuple):
    """What a replay came to: ``answer`` for the caller, or only ``run_id`` when it has not ended in time."""

    run_id: str
    answer: dict[str, Any] | None


class Many(NamedTuple):
    """A run over dead letters; ``matched`` is counted up to ``COUNT_BOUND``."""

    run_id: str
    matched: int


class Webhooks:
    """Webhooks of one database.

    Args:
        engine: carries out their runs.
        outbound: sends them.
        options: secrets, times and numbers.
        spans: who traces attempts.
    """

    def __init__(
        self, engine: Engine, outbound: Outbound, options: Options | None = None, spans: Spans = NO_SPANS
    ) -> None:
        self.options = options or Options()
        self._engine = engine
        self._outbound = outbound
        self._describe: Describe | None = None
        self._audit: Audit = _unwritten
        self._working = Rounds("windlass-webhooks", self.take_up, lambda: self.options.worker_interval, self._not_taken)
        sender = Sender(outbound, self.options, engine.clock, engine.worker.telemetry, spans)
        define(Parts(engine, sender, self.options, lambda: self._describe))

    def describe_ends(self, describe: Describe) -> None:
        """Say who describes the ends of runs; without, nobody hears of them."""
        self._describe = describe

    def audit_with(self, audit: Audit) -> None:
        """Say who writes the audit log."""
        self._audit = audit

    def queue_in(self, tx: Transaction, delivery: Delivery) -> str:
        """Queue a webhook inside an open transaction and return the run that delivers it: both happen, or neither."""
        return self._engine.start_run_in(tx, DELIVER, delivery, tenant_id=delivery.tenant_id)

    # reading
    async def deliveries(self, actor: Actor, run_id: str, *, after: int = 0, limit: int = 100) -> list[dict[str, Any]]:
        """Return the attempts to tell of a run, in order; ``after`` is the ``id`` of the last one seen.

        Raises:
            Forbidden: the caller may not read runs.
            NotFound: there is no such run for this caller.
        """
        actor.require(RUNS_READ)
        try:
            run = await self._engine.get_run(run_id)
        except UnknownRun:
            raise NotFound("Run not found") from None
        if not actor.owns(run.tenant_id, run.owner):
            raise NotFound("Run not found")
        return await self._engine.read(lambda connection: letters.history(connection, run_id, after, limit))

    async def letters(
        self, actor: Actor, wanted: Wanted, *, after: int = 0, limit: int = 100, offset: int = 0
    ) -> list[dict[str, Any]]:
        """Return dead letters, oldest first.

        Raises:
            Forbidden: the caller is no administrator.
        """
        asked = self._of(actor, wanted)
        worker = self.options.worker
        return await self._engine.read(
            lambda connection: letters.page(connection, asked, after, limit, offset, worker=worker)
        )

    # doing
    async def replay(self, actor: Actor, dlq_id: int, *, wait: bool = True) -> Replayed:
        """Send a dead letter once more.

        Raises:
            Forbidden: the caller is no administrator.
            LetterNotFound: there is none for this caller.
            Conflict: it is being sent already.
            Invalid: the egress policy does not allow it.
        """
        tenant = self._of(actor, Wanted()).tenant
        run_id = new_id()

        def start(tx: Transaction) -> None:
            owner, url = letters.claim(tx, dlq_id, tenant, run_id)
            try:
                self._outbound.policy.check(url, owner, Purpose.WEBHOOK)
            except Refused as refused:
                raise _denied(refused.reason) from None
            self._audit(tx, actor, "webhook.replay", f"webhook_dlq:{dlq_id}", None, {"run_id": run_id})
            self._engine.start_run_in(tx, REDELIVER, dlq_id, letters.REPLAY, run_id=run_id, tenant_id=owner)

        await self._engine.transact(start)
        if not wait:
            return Replayed(run_id, None)
        try:
            told = await self._engine.result(run_id, timeout=self.options.timeout + REPLAY_GRACE)
        except TimeoutError:
            return Replayed(run_id, None)
        except (RunFailed, RunCancelled) as ended:
            raise Conflict(f"the replay did not come to an end: {ended}", run_id=run_id) from ended
        if told["status"] == GONE:
            raise LetterNotFound
        return Replayed(run_id, _answer(told))

    async def replay_many(self, actor: Actor, wanted: Wanted) -> Many:
        """Start a run that sends the dead letters that match now once more each.

        Raises:
            Forbidden: the caller is no administrator.
        """
        asked = self._of(actor, wanted)
        until = await self._engine.read(letters.last_id)
        matched = await self._engine.read(lambda connection: letters.count_up_to(connection, asked, COUNT_BOUND))

        def start(tx: Transaction) -> str:
            self._audit(tx, actor, "webhook.replay_many", "webhook_dlq:*", None, asdict(asked))
            return self._engine.start_run_in(
                tx, REPLAY_MANY, asked, until, tenant_id=actor.tenant_id, owner=actor.user_id
            )

        return Many(await self._engine.transact(start), matched)

    async def discard(self, actor: Actor, dlq_id: int) -> None:
        """Throw a dead letter away.

        Raises:
            Forbidden: the caller is no administrator.
            LetterNotFound: there is none for this caller.
        """
        tenant = self._of(actor, Wanted()).tenant

        def throw(tx: Transaction) -> None:
            gone = letters.discard_one(tx, dlq_id, tenant)
            self._audit(tx, actor, "webhook.discard", f"webhook_dlq:{dlq_id}", gone, None)

        await self._engine.transact(throw)

    async def discard_many(self, actor: Actor, wanted: Wanted) -> int:
        """Throw the dead letters away that match now, a few hundred in each transaction; returns how many those were.

        Raises:
            Forbidden: the caller is no administrator.
        """
        asked = self._of(actor, wanted)
        until = await self._engine.read(letters.last_id)
        total = 0

        def throw(tx: Transaction) -> int:
            if not total:
                self._audit(tx, actor, "webhook.discard_many", "webhook_dlq:*", asdict(asked), None)
            return letters.discard(tx, asked, until, DISCARD_PAGE)

        while True:
            done = await self._engine.transact(throw)
            total += done
            if done < DISCARD_PAGE:
                return total

    @staticmethod
    def _of(actor: Actor, wanted: Wanted) -> Wanted:
        """Return what a caller may ask for: administrators of the first tenant see all, others their own.

        Raises:
            Forbidden: the caller is no administrator.
            ValidationFailed: another tenant's letters are asked for.
        """
        actor.require(RUNS_CONTROL)
        if not actor.is_admin:
            raise Forbidden("Access denied. Required role(s): admin")
        if actor.tenant_id == OPERATORS:
            return wanted
        if wanted.tenant not in {None, actor.tenant_id}:
            raise ValidationFailed([Issue(("tenant",), "Input should be your own tenant, or left out", "tenant")])
        return replace(wanted, tenant=actor.tenant_id)

    # the worker for dead letters
    async def start(self) -> None:
        """Begin to take up dead letters that are due, where that is wanted."""
        if self.options.worker and self._engine.worker.claims:
            self._working.start()

    async def stop(self) -> None:
        """Stop doing so."""
        await self._working.stop()

    async def take_up(self) -> int:
        """Start a run for each of the dead letters that are due, up to a batch; returns how many."""
        run_ids = [new_id() for _ in range(self.options.worker_batch)]
        now, rest = self._engine.clock.now(), self.options.rest(self._engine.worker.random())

        def take(tx: Transaction) -> int:
            given = letters.claim_due(tx, now, rest, run_ids)
            for dlq_id, run_id in given:
                self._engine.start_run_in(tx, REDELIVER, dlq_id, letters.WORKER, run_id=run_id)
            return len(given)

        return await self._engine.transact(take)

    def _not_taken(self, error: Exception) -> None:
        self._engine.worker.telemetry.event("webhooks.letters_not_taken", error=str(error))


def _unwritten(
    tx: Transaction, actor: Actor, action: str, target: str, before: object, after: object
) -> None:  # fmt: skip
    """Write no audit log."""


def _denied(reason: str) -> Invalid:
    return Invalid("Denied by egress policy", reason=reason)


def _answer(told: dict[str, Any]) -> dict[str, Any]:
    if told["status"] == "blocked":
        raise _denied(str(told["error"]).removeprefix(f"{DENIED}: "))
    if told["status"] == "delivered":
        return {"ok": True, "status_code": told["code"]}
    kind = category(told["code"], told["reason"])
    if told["code"] is not None:
        return {"ok": False, "status_code": told["code"], "error": "delivery_failed", "error_category": kind}
    return {"ok": False, "error": told["error"], "error_type": told["reason"], "error_category": kind}
