"""The rules of the journal: who may write, which numbers events get, who is woken. Promises 1, 5, 6 and 9."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from windlass.engine.births import insert
from windlass.engine.ending import finish
from windlass.engine.errors import Fenced, RunConflict
from windlass.engine.heads import close, note_failures
from windlass.engine.ops import Operation
from windlass.engine.orders import obey
from windlass.engine.ports import IdempotencyRow, Ring, Transaction
from windlass.engine.types import (
    RESUMED,
    Advance,
    Event,
    Finish,
    InboxRow,
    NewRun,
    Park,
    RunHead,
    Started,
    StartRequest,
    Status,
)

Order = tuple[RunHead, list[InboxRow], int]
Parked = list[InboxRow] | None
"""Answer to an advance: None, or (for a refused park) what has come into the inbox meanwhile."""


class AdvanceRuns(Operation[Advance, Parked]):
    """The hot path: held runs write their steps. One statement per table for the whole batch."""

    rank = 10

    def locks(self, unit: Advance) -> Iterable[str]:
        """Lock the run, and its parent when it ends."""
        if unit.finish is not None and unit.finish.parent_run_id is not None:
            return (unit.run_id, unit.finish.parent_run_id)
        return (unit.run_id,)

    def weight(self, unit: Advance) -> int:
        """That of the events, of the outputs and of the inputs of children."""
        weight = 0
        for event in unit.events:
            weight += len(event.payload)
        for child in unit.starts:
            weight += len(child.inputs)
        if unit.finish is not None and unit.finish.outputs is not None:
            weight += len(unit.finish.outputs)
        return weight

    def apply(self, tx: Transaction, units: Sequence[Advance]) -> list[Parked | Exception]:
        """Write the events of every unit whose fence holds; refuse the others as ``Fenced``."""
        heads = tx.heads
        answers: list[Parked | Exception] = [None] * len(units)
        events: list[Event] = []
        bumped: dict[str, RunHead] = {}
        changed: dict[str, RunHead] = {}
        parks: list[tuple[int, Advance, Park]] = []
        ends: list[tuple[Advance, Finish]] = []
        starts: list[NewRun] = []
        consumed: list[str] = []
        along: list[tuple[Any, object]] = []
        for index, unit in enumerate(units):
            head = heads.get(unit.run_id)
            if head is None or head.holder != unit.holder or not tx.lease_is_live(unit.holder):
                answers[index] = Fenced(unit.run_id)
                continue
            seq = head.last_seq
            for event in unit.events:
                seq += 1
                events.append(Event(unit.run_id, seq, *event))
            head.last_seq = seq
            head.deaths = head.deaths and deaths_after(unit, head.deaths)
            bumped[unit.run_id] = head
            if unit.finish is not None:
                ends.append((unit, unit.finish))
                close(head, unit.finish)
                del bumped[unit.run_id]
            elif unit.park is not None:
                parks.append((index, unit, unit.park))
            starts.extend(unit.starts)
            consumed.extend(unit.consumed)
            along.extend(unit.along)
        if starts:
            insert(tx, starts)
        if consumed:
            tx.consume_inbox(consumed)
        self._ride(tx, along)
        orders = self._park(tx, parks, answers, changed) if parks else []
        tx.append_events(events)
        note_failures(tx, events)
        if ends:
            finish(tx, ends, changed)
        for head, news, at in orders:
            obey(tx, head, news, at)
        light = [head for run_id, head in bumped.items() if run_id not in changed]
        if light:
            tx.bump_runs(light)
        if changed:
            tx.write_heads(list(changed.values()))
        return answers

    @staticmethod
    def _ride(tx: Transaction, along: Sequence[tuple[Any, object]]) -> None:
        for write, row in along:
            tx.at_end(write, row)

    @staticmethod
    def _park(
        tx: Transaction,
        parks: list[tuple[int, Advance, Park]],
        answers: list[Parked | Exception],
        changed: dict[str, RunHead],
    ) -> list[Order]:
        """Let runs leave; returns those given back, with what their inboxes hold."""
        arrived = tx.load_inbox([unit.run_id for _, unit, _ in parks])
        leaving = []
        orders: list[Order] = []
        for index, unit, park in parks:
            news = [row for row in arrived.get(unit.run_id, ()) if row.inbox_id not in park.heard]
            head = tx.heads[unit.run_id]
            if head.holder is None:
                continue
            if park.status is Status.PAUSED:
                news = [row for row in news if row.kind == "cancel"]
            if news and not park.ready:
                answers[index] = news
                continue
            head.holder = None
            head.status = park.status
            head.status_reason = park.status_reason
            head.wait_reason = park.reason
            head.wake_at = park.wake_at
            head.claim_rank = RESUMED
            head.ready_at = unit.at if park.ready else None
            if park.ready:
                tx.rings.append(Ring("ready", unit.run_id))
                orders.append((head, news, unit.at))
            changed[unit.run_id] = head
            leaving.append(unit.run_id)
        tx.free_slots(leaving)
        return orders


NO_PROGRESS = frozenset({"step_started", "step_streamed", "step_published"})
"""What a step may write and kill its process nevertheless, each time anew."""


def deaths_after(unit: Advance, deaths: int) -> int:
    """Return how many holders have died without progress: that a long step began is none, or it could kill for ever."""
    if unit.finish or unit.park or any(event.type not in NO_PROGRESS for event in unit.events):
        return 0
    return deaths


class StartRuns(Operation[StartRequest, Started]):
    """Insert runs, each idempotency key once."""

    rank = 30

    def locks(self, unit: StartRequest) -> Iterable[str]:
        """Look for the run whose id the caller chose."""
        return (unit.run.run_id,) if unit.own_id else ()

    def begins(self, unit: StartRequest) -> bool:
        """Whether the run is to be born claimed."""
        return unit.run.holder is not None

    def weight(self, unit: StartRequest) -> int:
        """That of the input and the attributes."""
        return len(unit.run.inputs) + len(unit.run.attributes)

    def apply(self, tx: Transaction, units: Sequence[StartRequest]) -> list[Started | Exception]:
        """Insert what is new and answer with the run that holds each key."""
        keyed = [
            IdempotencyRow(scope(unit), unit.idempotency_key, unit.run.run_id, unit.request_hash, unit.expires_at or 0)
            for unit in units
            if unit.idempotency_key is not None
        ]
        owners = tx.claim_keys(keyed, max(unit.run.created_at for unit in units)) if keyed else {}
        answers: list[Started | Exception] = []
        fresh = []
        chosen: set[str] = set()
        for unit in units:
            run_id = unit.run.run_id
            if unit.own_id:
                if run_id in chosen or run_id in tx.heads:
                    answers.append(RunConflict(f"run {run_id} is there already", run_id=run_id))
                    continue
                chosen.add(run_id)
            owner = owners.get((scope(unit), unit.idempotency_key)) if unit.idempotency_key is not None else None
            if owner is None or owner.run_id == unit.run.run_id:
                fresh.append(unit)
                answers.append(Started(unit.run.run_id, True, None))
            elif owner.request_hash != unit.request_hash:
                answers.append(
                    RunConflict(
                        f"idempotency key {unit.idempotency_key!r} was used with another request",
                        run_id=owner.run_id,
                    )
                )
            else:
                answers.append(Started(owner.run_id, False, None))
        refused = self.refuse(tx, fresh)
        if refused:
            fresh = [unit for unit in fresh if unit.run.run_id not in refused]
            answers = [refused.get(found.run_id, found) if isinstance(found, Started) else found for found in answers]
        if fresh:
            insert(tx, [unit.run for unit in fresh], fresh[0].rules)
        holders = {unit.run.run_id: unit.run.holder for unit in fresh}
        answers = [
            answer._replace(holder=holders.get(answer.run_id)) if isinstance(answer, Started) else answer
            for answer in answers
        ]
        for unit, answer in zip(units, answers, strict=True):
            if unit.tell is not None and isinstance(answer, Started):
                unit.tell(tx, answer)
        return answers

    def refuse(self, tx: Transaction, fresh: Sequence[StartRequest]) -> Mapping[str, Exception]:  # noqa: ARG002
        """Return why runs that are about to be inserted must not be, by their ids; their keys are free again then."""
        return {}


def scope(unit: StartRequest) -> str:
    """Return where an idempotency key must be unique: a workflow of a tenant."""
    return f"{unit.run.tenant_id}/{unit.run.name}"


ADVANCE = AdvanceRuns()
START = StartRuns()
