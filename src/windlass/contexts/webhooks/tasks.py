"""The durable runs of webhooks: a delivery with its retries, the end of a run told, a dead letter sent again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from windlass.contexts.webhooks import ledger, letters
from windlass.contexts.webhooks.letters import Wanted
from windlass.contexts.webhooks.model import Attempt, Delivery, Describe, Options
from windlass.contexts.webhooks.sending import Sender
from windlass.engine.api import now, sleep
from windlass.engine.branches import map as side_by_side
from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.engine.step import Step, step
from windlass.engine.workflow import workflow
from windlass.kernel.clock import from_datetime
from windlass.kernel.stepping import step_info

DELIVER = "webhooks.deliver"
COMPLETE = "webhooks.complete"
REDELIVER = "webhooks.redeliver"
REPLAY_MANY = "webhooks.replay_many"
WORKFLOWS = (DELIVER, COMPLETE, REDELIVER, REPLAY_MANY)
"""What carries webhooks out."""
QUEUE = "webhooks"
PAGE = 50
SIDE_BY_SIDE = 10
GONE = "gone"
STUBBORN = 1000
"""Attempts of what only a database can refuse."""


class Parts(NamedTuple):
    """What the runs work with; ``describe`` returns how to describe the ends of runs, once somebody said so."""

    engine: Engine
    sender: Sender
    options: Options
    describe: Callable[[], Describe | None]


class Tries(NamedTuple):
    """The steps of a delivery."""

    send: Step[..., Any]
    settle: Step[..., Any]


def define(parts: Parts) -> None:
    """Define the workflows of webhooks in the engine's registry."""
    tries = _tries(parts)
    _define_deliveries(parts, tries)
    _define_letters(parts)


def _tries(parts: Parts) -> Tries:
    engine, options = parts.engine, parts.options

    @step(name="send")
    async def send(delivery: Delivery, attempt: int) -> dict[str, Any]:
        del attempt  # it tells the calls apart in the journal
        return {**await parts.sender.send(delivery, options.timeout)}

    @step(name="settle", transactional=True, retries=STUBBORN)
    def settle(tx: Transaction, delivery: Delivery, attempt: int, told: dict[str, Any]) -> float | None:
        at = engine.clock.now()
        outcome = _attempt(told)
        ledger.note(tx, delivery, attempt, outcome, None, at)
        if outcome["status"] != "failed":
            return None
        dice = engine.worker.random()
        if attempt < options.attempts:
            return options.pause(attempt, dice)
        ledger.bury(tx, delivery, attempt, outcome, at + options.rest(dice), at)
        return None

    return Tries(send, settle)


def _attempt(told: dict[str, Any]) -> Attempt:
    return Attempt(status=told["status"], code=told["code"], reason=told["reason"], error=told["error"])


async def _deliver(tries: Tries, delivery: Delivery) -> dict[str, Any]:
    """Try until it is delivered, refused by the policy, or a dead letter.

    How often and when is decided in the step that writes it down, so that other settings after a restart change no
    decision that was taken.
    """
    attempt = 0
    while True:
        attempt += 1
        told = await tries.send(delivery, attempt)
        again = await tries.settle(delivery, attempt, told)
        if again is None:
            return {"webhook_id": delivery.webhook_id, "status": told["status"], "attempts": attempt}
        await sleep(again)


def _define_deliveries(parts: Parts, tries: Tries) -> None:
    options, registry = parts.options, parts.engine.registry

    @step(name="describe", retries=STUBBORN)
    async def describe(run_id: str, status: str, webhook_id: str) -> Delivery | None:
        ask = parts.describe()
        found = await ask(run_id) if ask is not None and options.completions else None
        if found is None:
            return None
        scheme = found.scheme or options.scheme
        body, headers = found.body(status), found.headers()
        return Delivery(webhook_id, found.url, body, found.tenant_id, run_id, headers, scheme)

    @workflow(name=DELIVER, registry=registry, queue=QUEUE)
    async def deliver(delivery: Delivery) -> dict[str, Any]:
        """Deliver a webhook."""
        return await _deliver(tries, delivery)

    @workflow(name=COMPLETE, registry=registry, queue=QUEUE)
    async def complete(run_id: str, status: str) -> dict[str, Any]:
        """Tell of the end of a run to whom its definition names."""
        delivery = await describe(run_id, status, f"wf-{run_id}-{from_datetime(now())}")
        if delivery is None:
            return {"webhook_id": None, "status": "not_wanted", "attempts": 0}
        return await _deliver(tries, delivery)


def _define_letters(parts: Parts) -> None:
    engine, options, registry = parts.engine, parts.options, parts.engine.registry

    @step(name="send_letter")
    async def send(dlq_id: int, source: str) -> dict[str, Any]:
        found = await engine.read(lambda connection: ledger.load(connection, dlq_id))
        if found is None:
            return {"status": GONE}
        seconds = options.worker_timeout if source == letters.WORKER else options.timeout
        return {**await parts.sender.send(found[0], seconds)}

    @step(name="settle_letter", transactional=True, retries=STUBBORN)
    def settle(tx: Transaction, dlq_id: int, source: str, told: dict[str, Any]) -> str:
        run_id, at = step_info().run_id, engine.clock.now()
        done = letters.Outcome(dlq_id, run_id, _attempt(told), source, at, options.rest(engine.worker.random()))
        return str(told["status"]) if letters.settle(tx, done, options) else GONE

    async def again(dlq_id: int, source: str) -> dict[str, Any]:
        told: dict[str, Any] = await send(dlq_id, source)
        return told if told["status"] == GONE else told | {"status": await settle(dlq_id, source, told)}

    @step(name="claim", transactional=True, retries=STUBBORN)
    def claim(tx: Transaction, wanted: Wanted, after: int, until: int) -> dict[str, Any]:
        ids, beyond = letters.claim_many(tx, wanted, after, until, step_info().run_id, PAGE)
        return {"ids": ids, "after": beyond}

    @workflow(name=REDELIVER, registry=registry, queue=QUEUE)
    async def redeliver(dlq_id: int, source: str) -> dict[str, Any]:
        """Send a dead letter once more; it has been given to this run."""
        return await again(dlq_id, source)

    @workflow(name=REPLAY_MANY, registry=registry, queue=QUEUE)
    async def replay_many(wanted: Wanted, until: int) -> dict[str, int]:
        """Send the dead letters that match, up to one, once more each; those that others are at are left to them."""
        sums = dict.fromkeys(("delivered", "failed", "blocked", GONE), 0)
        after: int | None = 0
        while after is not None:
            page: dict[str, Any] = await claim(wanted, after, until)
            for told in await side_by_side(lambda one: again(one, letters.REPLAY), page["ids"], limit=SIDE_BY_SIDE):
                sums[told["status"]] += 1
            after = page["after"]
        return sums
