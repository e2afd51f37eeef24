"""The durable runs of records: one for each record that is processed, and one over many of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from windlass.contexts.records import transitions
from windlass.contexts.records.listing import Filter
from windlass.contexts.records.loading import Loader, Read
from windlass.contexts.records.outcome import BadOutcome, Outcome, Rejected, from_return, short
from windlass.contexts.records.processors import DEFAULT, Processor, Processors
from windlass.contexts.records.transitions import Settlement, Ticket
from windlass.engine.api import call_child
from windlass.engine.branches import gather
from windlass.engine.branches import map as side_by_side
from windlass.engine.errors import RunCancelled, RunFailed, StepFailed
from windlass.engine.ports import Transaction
from windlass.engine.registry import Registry
from windlass.engine.step import Step, step
from windlass.engine.workflow import Workflow, workflow
from windlass.kernel.clock import Clock
from windlass.kernel.stepping import step_info

PAGE = 200
LANES = 2
BEGINNING = ("0001-01-01T00:00:00.000000Z", "")
PROCESS = "records.process"
PROCESS_MANY = "records.process_many"


class Tasks(NamedTuple):
    """The workflows of this context."""

    process: Workflow[..., Any]
    process_many: Workflow[..., Any]


class Judges:
    """Makes the step that a processor's work runs in; it reads the record itself, so that no journal keeps payloads."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._steps: dict[int, Step[..., Any]] = {}

    def step(self, processor: Processor) -> Step[..., Any]:
        """Return the step of a processor that is a function."""
        made = self._steps.get(id(processor))
        if made is None:
            plain = processor is not DEFAULT and not processor.is_async
            judge = self._threaded(processor) if plain else self._awaited(processor)
            made = step(name="classify", retries=processor.retries, timeout=processor.timeout)(judge)
            self._steps[id(processor)] = made
        return made

    def _awaited(self, processor: Processor) -> Callable[..., Any]:
        async def classify(record_id: str) -> dict[str, Any]:
            category, payload = await self._loader.load(record_id)
            try:
                value = processor.work(*processor.arguments(payload, category))
                return _judged(await value if processor.is_async else value)
            except Rejected as reason:
                return _refused(reason)

        return classify

    def _threaded(self, processor: Processor) -> Callable[..., Any]:
        def classify(record_id: str) -> dict[str, Any]:
            category, payload = self._loader.load_from_thread(record_id)
            try:
                return _judged(processor.work(*processor.arguments(payload, category)))
            except Rejected as reason:
                return _refused(reason)

        return classify


def _judged(value: object) -> dict[str, Any]:
    outcome = from_return(value)
    return {"classification": outcome.classification, "score": outcome.score, "result": outcome.result}


def _refused(reason: Exception) -> dict[str, Any]:
    return {"error": short(str(reason))}


def define(registry: Registry, processors: Processors, read: Read, clock: Clock) -> Tasks:
    """Define the workflows of records in a registry."""
    loader = Loader(read)
    judges = Judges(loader)

    @step(name="load")
    async def load(record_id: str) -> list[str]:
        return list(await loader.load(record_id))

    @step(name="settle", transactional=True)
    def settle(tx: Transaction, ticket: list[str], asked_at: int, owner: str, judged: dict[str, Any]) -> str:
        error = judged.get("error")
        outcome = None if error is not None else Outcome(judged["classification"], judged["score"], judged["result"])
        done = Settlement(Ticket(*ticket), owner, step_info().run_id, asked_at, clock.now(), outcome, error)
        if not transitions.settle(tx, done):
            return "skipped"
        return "processed" if error is None else "failed"

    async def judge(category: str, record_id: str) -> dict[str, Any]:
        processor = processors.find(category)
        loader.attach()
        try:
            if not isinstance(processor.work, Workflow):
                judged: dict[str, Any] = await judges.step(processor)(record_id)
                return judged
            _, payload = await load(record_id)
            return _judged(await call_child(processor.work, processor.arguments(payload, category), {}))
        except StepFailed as failed:
            return _refused(RuntimeError(f"processing failed: {failed.data.get('error_type', 'unknown')}"))
        except (RunFailed, RunCancelled) as ended:
            return _refused(RuntimeError(f"processing failed: {_kind(ended)}"))
        except (Rejected, BadOutcome) as reason:
            return _refused(reason)

    @workflow(name=PROCESS, registry=registry)
    async def process(ticket: list[str], asked_at: int, owner: str) -> str:
        """Process one record that ``owner`` (this run or the one above it) has claimed; answers its status."""
        record_id, category = ticket[:2]
        status: str = await settle(ticket, asked_at, owner, await judge(category, record_id))
        return status

    process_many = _define_many(registry, process, clock)
    return Tasks(process, process_many)


def _kind(ended: RunFailed | RunCancelled) -> str:
    error = ended.data.get("error")
    return str(error.get("type", "unknown")) if isinstance(error, dict) else "unknown"


def _define_many(registry: Registry, process: Workflow[..., Any], clock: Clock) -> Workflow[..., Any]:
    @step(name="claim", transactional=True)
    def claim(tx: Transaction, wanted: dict[str, Any], after: list[str], most: int) -> dict[str, Any]:
        now = clock.now()
        tickets, beyond = transitions.claim_many(
            tx, Filter(**wanted), (after[0], after[1]), step_info().run_id, now, min(most, PAGE)
        )
        return {"tickets": [list(ticket) for ticket in tickets], "after": beyond and list(beyond), "asked_at": now}

    @workflow(name="records.process_page", registry=registry)
    async def process_page(tickets: list[list[str]], asked_at: int, owner: str) -> dict[str, int]:
        """Process records that ``owner`` has claimed, each in a run of its own."""
        statuses = await side_by_side(lambda ticket: process(ticket, asked_at, owner), tickets, limit=PAGE)
        return {status: statuses.count(status) for status in ("processed", "failed", "skipped")}

    @workflow(name=PROCESS_MANY, registry=registry)
    async def process_many(wanted: dict[str, Any], limit: int | None, owner: str) -> dict[str, int]:
        """Process what a filter matches, oldest first; records that others process meanwhile are left to them."""
        sums = {"processed": 0, "failed": 0, "skipped": 0}
        left = limit

        async def lane() -> None:
            nonlocal left
            after: list[str] | None = [*BEGINNING]
            while after is not None and (left is None or left > 0):
                most = PAGE if left is None else min(left, PAGE)
                if left is not None:
                    left -= most
                page = await claim(wanted, after, most)
                if left is not None:
                    left += most - len(page["tickets"])
                if page["tickets"]:
                    counts = await process_page(page["tickets"], page["asked_at"], owner)
                    for status, count in counts.items():
                        sums[status] += count
                after = page["after"]

        await gather(*(lane() for _ in range(LANES if limit is None else 1)))
        return sums

    return process_many


def packed(wanted: Filter) -> dict[str, Any]:
    """Return a filter as a run keeps it."""
    found: dict[str, Any] = orjson.loads(orjson.dumps(wanted))
    return found
