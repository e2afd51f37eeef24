"""The saga behind an approval: claim, create the provider at billing, record both in one transaction, tell of it.

The candidate was claimed in the transaction that started the run. Billing is asked under a key that is the same for
every attempt there will ever be for this candidate and name, and what may have become of a lost answer stays in the
candidate's row until it is known: so a later approval finds the provider that an earlier one left behind. Whatever is
not certain is left to a person; a second provider is never created, and none is guessed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from windlass.contexts.providers import rows
from windlass.contexts.providers.billing import BillingDown, BillingRefused, LookupNotOffered, NameTaken
from windlass.contexts.providers.model import ApprovalExpired, ApprovalState, BillingFailed
from windlass.contexts.providers.outcomes import APPROVALS, Parts, move, record
from windlass.engine.api import signal, sleep
from windlass.engine.errors import SignalTimeout, StepFailed
from windlass.engine.ports import Transaction
from windlass.engine.registry import Registry
from windlass.engine.scope import current_scope
from windlass.engine.step import step
from windlass.engine.types import Status
from windlass.engine.workflow import Workflow, workflow
from windlass.kernel.clock import SECOND
from windlass.kernel.stepping import step_info

APPROVE = "providers.approve"
ENDED = "providers.approval_ended"
SECOND_SIGNAL = "second"
REVIEW_SIGNAL = "review"
GIVE_UP_SIGNAL = "give_up"
RETRIES = 3
"""How often billing is asked again before an approval that somebody waits for is given up."""
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 60.0
"""Seconds between two calls of billing for an approval that goes on until billing is back."""
SKEW_SECONDS = 60
"""By how much billing's clock may be behind ours where only the time tells whose a provider is."""

_RESUMED: ContextVar[bool] = ContextVar("windlass_providers_resumed", default=False)
"""Whether this may not be the first time that billing is called so: another process died before it wrote the answer."""


@dataclass(frozen=True, slots=True)
class Order:
    """An approval of a candidate that has this name.

    ``former`` is another name under which it may have one; ``unclear``: an earlier approval may have left one behind.
    ``wait``: somebody waits for the end, so it is given up when billing stays away. ``second``: another administrator
    has to approve, within ``expires`` seconds if given.
    """

    candidate_id: str
    name: str
    former: str | None = None
    unclear: bool = False
    wait: bool = True
    second: bool = False
    expires: float | None = None

    def key(self) -> str:
        """Return the idempotency key: one for all attempts of all approvals of this candidate under this name."""
        return f"{self.candidate_id}.{hashlib.blake2b(self.name.encode(), digest_size=8).hexdigest()}"


Answer = dict[str, Any]
"""What billing came to: ``is`` says created, taken, refused, found, none, untold or down, the rest says more."""


class Review(Exception):
    """A person must look: the argument says at what."""


class GivenUp(Exception):
    """An administrator gave the approval up while no call of billing can have been carried out."""


@dataclass(slots=True)
class Tries:
    """How often billing gave no answer, and whether a call may have been carried out all the same."""

    order: Order
    failed: int = 0
    unclear: bool = False


def pause_after(failed: int, retry_after: float | None) -> float:
    """Return the seconds to wait after so many calls that came to nothing: 0.5, 1, 2, …, or what billing asks for."""
    return max(min(FIRST_PAUSE * 2.0 ** min(failed - 1, 16), LONGEST_PAUSE), retry_after or 0.0)


class Saga:
    """The workflow and its steps."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        transactional = step(transactional=True, name="providers.release", retries=8, backoff=0.5)
        self.release = transactional(self._release)
        self.hold = step(transactional=True, name="providers.hold", compensate=self.release)(self._hold)
        self.failed = step(transactional=True, name="providers.failed", retries=8)(self._failed)
        self.untried = step(transactional=True, name="providers.untried", retries=8)(self._untried)
        self.tried_as = step(transactional=True, name="providers.tried_as", retries=8)(self._tried_as)
        self.move = step(transactional=True, name="providers.move", retries=8)(self._move)
        self.judge = step(transactional=True, name="providers.judge", retries=8)(self._judge)
        self.record = step(transactional=True, name="providers.record", retries=8)(self._record)
        self.create = step(name="providers.create")(self._create)
        self.find = step(name="providers.find")(self._find)

    # the workflow
    async def approve(self, order: Order) -> dict[str, Any]:
        """Approve a candidate.

        Raises:
            BillingFailed: billing refuses or stays away; the candidate is pending again.
            ApprovalExpired: no second administrator came.
        """
        if not await self.hold(order.candidate_id):
            return {"outcome": "superseded"}
        try:
            return await self._carried_out(order)
        except (BillingFailed, ApprovalExpired) as error:
            await self.failed(order.candidate_id, error.message)
            raise
        except StepFailed:
            await self.failed(order.candidate_id, None)
            raise

    async def _carried_out(self, order: Order) -> dict[str, Any]:
        wanted = await self._second(order) if order.second else order
        if wanted is None:
            return {"outcome": "released"}
        order = wanted
        try:
            provider_id = await self._provider(order)
            return await self._recorded(order, provider_id)
        except GivenUp:
            await self.untried(order.candidate_id)
            await self.release(True, order.candidate_id)
            return {"outcome": "released"}
        except Review as review:
            return await self._reviewed(order, str(review))

    async def _second(self, order: Order) -> Order | None:
        """Wait for another administrator; returns how that one wants it, None when it was given up instead."""
        told = {"assigned_to": ["role:admin"], "candidate_id": order.candidate_id}
        try:
            said = await signal(SECOND_SIGNAL, timeout=order.expires, status=Status.WAITING_APPROVAL, told=told)
        except SignalTimeout:
            raise ApprovalExpired from None
        return replace(order, wait=said["wait"]) if said["approved"] else None

    async def _provider(self, order: Order) -> int:
        """Return the candidate's one provider at billing.

        Raises:
            BillingFailed: there is none, as far as can be known.
            Review: a person must look whether one is there, or whose it is.
        """
        tries = Tries(order, unclear=order.unclear)
        if order.former is not None:
            await self._left_behind(tries, order.former)
        answer = await self._insist(tries, self.create, order.name, order.key())
        if answer["is"] == "created":
            return int(answer["id"])
        if answer["is"] == "taken":
            return await self._taken(tries)
        if not tries.unclear:
            await self.untried(order.candidate_id)
            raise BillingFailed(answer["detail"])
        found = await self._insist(tries, self.find, order.name)
        if found["is"] == "found" and not (await self._judged(order, found, unclear=True))["why"]:
            return int(found["id"])
        raise BillingFailed(answer["detail"])

    async def _taken(self, tries: Tries) -> int:
        """Return the provider that has the name already, if it is certain that it is this candidate's."""
        order = tries.order
        found = await self._insist(tries, self.find, order.name)
        if found["is"] == "found":
            why = (await self._judged(order, found, unclear=tries.unclear))["why"]
            if not why:
                return int(found["id"])
            raise Review(f"billing has provider {found['id']} of the name {order.name!r}, and {why}")
        says = "does not find it" if found["is"] == "none" else "does not tell which one"
        raise Review(f"billing says that it has a provider of the name {order.name!r}, and {says}")

    async def _left_behind(self, tries: Tries, former: str) -> None:
        """Look whether an earlier approval left a provider behind, under the name the candidate had then."""
        found = await self._insist(tries, self.find, former)
        if found["is"] == "found":
            why = (await self._judged(replace(tries.order, name=former), found, unclear=True))["why"]
            if not why:
                raise Review(f"billing has provider {found['id']} of this candidate under its former name {former!r}")
        elif found["is"] != "none":
            raise Review(f"billing may have a provider of this candidate under its former name {former!r}")
        await self.tried_as(tries.order.candidate_id)

    async def _judged(self, order: Order, found: Answer, *, unclear: bool) -> Answer:
        return await self.judge(order.candidate_id, order.name, order.key(), found, unclear)

    async def _insist(self, tries: Tries, call: Callable[..., Awaitable[Answer]], *args: str) -> Answer:
        """Ask billing until it answers.

        Raises:
            BillingFailed: it has not, and the approval is not to wait for it.
        """
        while True:
            token = _RESUMED.set(current_scope(APPROVE).run.replaying)
            try:
                answer = await call(*args, tries.failed, tries.order.wait)
            finally:
                _RESUMED.reset(token)
            tries.unclear = tries.unclear or answer.get("sent", False)
            if answer["is"] != "down":
                return answer
            tries.failed += 1
            if answer["delay"] is None:
                if not tries.unclear:
                    await self.untried(tries.order.candidate_id)
                raise BillingFailed(answer["reason"])
            if tries.failed == RETRIES + 1:
                await self.move(tries.order.candidate_id, ApprovalState.WAITING_FOR_BILLING.value, answer["reason"])
            await self._pause(tries, answer["delay"])

    async def _pause(self, tries: Tries, seconds: float) -> None:
        """Wait before billing is asked again, which an administrator may give up once the candidate says that it waits.

        Raises:
            GivenUp: that was done, and billing has made no provider.
            Review: it was done, and billing may have made one.
        """
        if tries.failed <= RETRIES:
            await sleep(seconds)
            return
        try:
            said = await signal(GIVE_UP_SIGNAL, timeout=seconds)
        except SignalTimeout:
            return
        if not tries.unclear:
            raise GivenUp
        name = tries.order.name
        raise Review(f"{said['by_name']} gave it up, and billing may have a provider of the name {name!r} by now")

    async def _recorded(self, order: Order, provider_id: int) -> dict[str, Any]:
        try:
            outcome = await self.record(order.candidate_id, provider_id)
        except StepFailed as failed:
            raise Review(f"provider {provider_id} was created, and could not be recorded: {failed.data}") from None
        if outcome == "taken":
            raise Review(f"billing answered with provider {provider_id}, which another candidate has")
        return {"outcome": outcome, "provider_id": provider_id}

    async def _reviewed(self, order: Order, note: str) -> dict[str, Any]:
        """Wait until a person has looked; what that person decides has been done by then."""
        if not await self.move(order.candidate_id, ApprovalState.NEEDS_REVIEW.value, note):
            return {"outcome": "superseded"}
        told = {"assigned_to": ["role:admin"], "candidate_id": order.candidate_id}
        decision: dict[str, Any] = await signal(REVIEW_SIGNAL, status=Status.WAITING_HUMAN, told=told)
        return decision

    # steps that ask billing
    async def _create(self, name: str, key: str, failed: int, wait: bool) -> Answer:
        try:
            return {"is": "created", "id": (await self._parts.billing.create(name, key)).provider_id}
        except NameTaken as error:
            return {"is": "taken", "detail": error.detail, "sent": _RESUMED.get()}
        except BillingRefused as error:
            return {"is": "refused", "detail": error.detail, "sent": _RESUMED.get()}
        except BillingDown as error:
            return self._down(error, failed, wait)

    async def _find(self, name: str, failed: int, wait: bool) -> Answer:
        try:
            found = await self._parts.billing.find(name)
        except (LookupNotOffered, BillingRefused):
            return {"is": "untold"}
        except BillingDown as error:
            return self._down(error, failed, wait)
        if found is None:
            return {"is": "none"}
        return {"is": "found", "id": found.provider_id, "key": found.idempotency_key, "at": found.created_at}

    def _down(self, error: BillingDown, failed: int, wait: bool) -> Answer:
        """Return what to do after a call that came to nothing, the ``failed`` before it not counted."""
        attempt = failed + 1
        delay = None if wait and attempt > RETRIES else pause_after(attempt, error.retry_after)
        if delay is not None:
            most = RETRIES if wait else None
            self._parts.billing.retrying(error, attempt=attempt, max_retries=most, delay=delay)
        sent = error.sent or _RESUMED.get()
        return {"is": "down", "reason": error.reason, "sent": sent, "delay": delay}

    # steps on the candidate
    def _hold(self, tx: Transaction, candidate_id: str) -> bool:
        """Make sure that the candidate is this run's; from here on a failure releases it."""
        return rows.is_of_run(tx, candidate_id, step_info().run_id)

    def _release(self, tx: Transaction, held: bool, candidate_id: str) -> None:
        """Make a candidate pending again whose approval came to nothing."""
        if held:
            rows.release(tx, candidate_id, step_info().run_id, self._parts.clock.now())
            self._parts.telemetry.event("candidate.released", candidate_id=candidate_id)
            self._parts.telemetry.count(APPROVALS, outcome="released")

    def _failed(self, tx: Transaction, candidate_id: str, why: str | None) -> None:
        """Leave behind why nothing came of it: whoever did not wait sees it on the candidate."""
        run_id = step_info().run_id
        rows.failed(tx, candidate_id, run_id, why or f"its run {run_id} failed", self._parts.clock.now())

    def _untried(self, tx: Transaction, candidate_id: str) -> None:
        rows.untried(tx, candidate_id, step_info().run_id, self._parts.clock.now())

    def _tried_as(self, tx: Transaction, candidate_id: str) -> None:
        rows.tried_as(tx, candidate_id, step_info().run_id, self._parts.clock.now())

    def _move(self, tx: Transaction, candidate_id: str, state: str, note: str) -> bool:
        return move(tx, self._parts, candidate_id, step_info().run_id, ApprovalState(state), note)

    def _judge(self, tx: Transaction, candidate_id: str, name: str, key: str, found: Answer, unclear: bool) -> Answer:
        """Say why a provider at billing is not, or may not be, this candidate's: ``why`` is empty when it is.

        Without a call that may have been carried out (``unclear``) only the key tells: billing had it before.
        """
        owner = rows.owner_of(tx, found["id"], candidate_id)
        if owner is not None:
            return {"why": f"candidate {owner} has it"}
        if found["key"] is not None:
            return {"why": "" if found["key"] == key else "it was created under another key"}
        if found["at"] is None:
            return {"why": "billing does not say when it was created, nor under which key"}
        since = rows.tried(tx.connection, candidate_id)[1]
        if not unclear or since is None or found["at"] < since - SKEW_SECONDS * SECOND:
            return {"why": "it was there before this candidate was approved"}
        rival = rows.rival(tx, name, candidate_id)
        return {"why": "" if rival is None else f"it may have been created for candidate {rival}"}

    def _record(self, tx: Transaction, candidate_id: str, provider_id: int) -> str:
        """Approve the candidate; returns approved, taken (another candidate has the provider) or superseded."""
        if rows.owner_of(tx, provider_id, candidate_id) is not None:
            return "taken"
        done = record(tx, self._parts, candidate_id, step_info().run_id, provider_id, None)
        if done is None:
            self._parts.telemetry.event(
                "candidate.provider_without", candidate_id=candidate_id, provider_id=provider_id
            )
        return "superseded" if done is None else "approved"


def define(registry: Registry, parts: Parts) -> Workflow[..., Any]:
    """Define the workflows of this context and return the one that approves."""
    saga = Saga(parts)

    def look(tx: Transaction, run_id: str, status: str) -> None:
        candidate_id = rows.of_run(tx, run_id)
        if candidate_id is not None:
            note = f"its approval ended as {status} before its end: look whether billing has a provider of its name"
            move(tx, parts, candidate_id, run_id, ApprovalState.NEEDS_REVIEW, note)

    close = step(transactional=True, name="providers.close", retries=8)(look)

    @workflow(name=ENDED, registry=registry)
    async def ended(run_id: str, status: str) -> None:
        """Leave no candidate behind whose approval was cancelled or could not be undone."""
        if status != Status.SUCCEEDED:
            await close(run_id, status)

    return workflow(name=APPROVE, registry=registry)(saga.approve)
