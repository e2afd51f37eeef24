"""How a record changes its state: claimed for a run, settled by it once, opened again by ``retry``.

A pending record whose ``run_id`` names an open run is being processed; one whose run ended otherwise (cancelled, lost)
can be claimed anew. Each change writes what it does to the counts in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from windlass.contexts.records import rollups, rows
from windlass.contexts.records.listing import Filter, narrowed
from windlass.contexts.records.model import Status
from windlass.contexts.records.outcome import Outcome
from windlass.contexts.records.rollups import Delta
from windlass.contexts.records.tables import records
from windlass.engine.ports import Transaction
from windlass.engine.types import TERMINAL
from windlass.kernel.clock import to_iso
from windlass.kernel.errors import Conflict, NotFound
from windlass.storage.schema import workflow_runs

OUTCOME_COLUMNS = ("classification", "score", "result", "error", "processed_at", "processing_ms")


class Ticket(NamedTuple):
    """A record claimed for processing; ``day`` is that of its creation."""

    record_id: str
    category: str
    source: str
    day: str


@dataclass(slots=True)
class Settlement:
    """What a run made of a record; times are microseconds, ``owner`` is the run that claimed it."""

    ticket: Ticket
    owner: str
    run_id: str
    asked_at: int
    at: int
    outcome: Outcome | None
    error: str | None


def claim(tx: Transaction, record_id: str, owner: str, now: int) -> Ticket:
    """Claim a pending record for a run.

    Raises:
        NotFound: there is no such record.
        Conflict: it is not pending, or a run is at it.
    """
    return _claim_one(tx, record_id, Status.PENDING, owner, now)


def reopen(tx: Transaction, record_id: str, owner: str, now: int) -> Ticket:
    """Make a failed record pending again and claim it for a run.

    Raises:
        NotFound: there is no such record.
        Conflict: it has not failed.
    """
    return _claim_one(tx, record_id, Status.FAILED, owner, now)


def _claim_one(tx: Transaction, record_id: str, status: Status, owner: str, now: int) -> Ticket:
    taken = _take(tx, [record_id], status, owner, now)
    if taken:
        return taken[0]
    found = tx.connection.execute(
        sa.select(records.c.status, records.c.run_id).where(records.c.id == record_id)
    ).first()
    if found is None:
        raise NotFound("record not found", id=record_id)
    details = {"id": record_id, "status": found.status, "run_id": found.run_id}
    if found.status == status:
        details["reason"] = "it is being processed: its run has not ended"
    raise Conflict(f"record is not {status}", **details)


def claim_many(
    tx: Transaction, wanted: Filter, after: tuple[str, str], owner: str, now: int, most: int
) -> tuple[list[Ticket], tuple[str, str] | None]:
    """Claim up to ``most`` records of a status for a run, oldest first; failed ones become pending again.

    Returns:
        the tickets, and the creation time and id after which to go on (None: that was all).
    """
    c = records.c
    created_at = rows.shown(tx.connection, "created_at")
    page = narrowed(sa.select(c.id, created_at), wanted, wanted.status)
    page = page.where(sa.tuple_(c.created_at, c.id) > sa.tuple_(sa.literal(after[0], c.created_at.type), after[1]))
    seen = tx.connection.execute(page.order_by(c.created_at, c.id).limit(most)).all()
    if not seen:
        return [], None
    status = Status(wanted.status or Status.PENDING)
    tickets = _take(tx, [row.id for row in seen], status, owner, now)
    last = seen[-1]
    return tickets, (last.created_at, last.id) if len(seen) == most else None


def _take(tx: Transaction, ids: Sequence[str], status: Status, owner: str, now: int) -> list[Ticket]:
    """Claim those of the records that are in ``status`` and free; failed ones lose what they failed with.

    A record somebody else is about to change is left to them. Whether a run is still at it is asked once the record
    is locked: before that, the run of another claim may not be visible yet.
    """
    c = records.c
    times = [rows.shown(tx.connection, name) for name in ("created_at", "processed_at")]
    chosen = sa.select(c.id, c.category, c.source, c.run_id, c.error, c.processing_ms, *times)
    chosen = chosen.where(c.id.in_(ids), c.status == status.value).with_for_update(skip_locked=True)
    locked = tx.connection.execute(chosen).all()
    busy = _open_runs(tx, [row.run_id for row in locked if row.run_id is not None])
    free = [row for row in locked if row.run_id not in busy]
    if not free:
        return []
    changes: dict[str, Any] = {"status": Status.PENDING.value, "run_id": owner, "updated_at": to_iso(now)}
    if status is Status.FAILED:
        changes |= dict.fromkeys(OUTCOME_COLUMNS, sa.null())
    which = sa.update(records).where(c.id.in_([row.id for row in free]))
    tx.connection.execute(which.values(attempts=c.attempts + 1, **changes))
    tickets = [Ticket(row.id, row.category, row.source, row.created_at[:10]) for row in free]
    if status is Status.FAILED:
        deltas: list[Delta] = []
        for ticket, row in zip(tickets, free, strict=True):
            ended = row.processed_at and row.processed_at[:13]
            deltas.append(_delta(ticket, Status.FAILED, -1, row.error, row.processing_ms, ended))
            deltas.append(_delta(ticket, Status.PENDING, 1))
        rollups.write(tx, deltas)
    return tickets


def _open_runs(tx: Transaction, run_ids: Sequence[str]) -> set[str]:
    if not run_ids:
        return set()
    c = workflow_runs.c
    over = [status.value for status in TERMINAL]
    still_open = sa.select(c.run_id).where(c.run_id.in_(run_ids), c.status.not_in(over))
    return set(tx.connection.execute(still_open).scalars())


_SETTLE = """UPDATE records SET status = :status, classification = :classification, score = :score,
 result = :result, error = :error, updated_at = :at, processed_at = :at, processing_ms = :processing_ms,
 run_id = :run_id
 WHERE id = :id AND status = 'pending' AND run_id = :owner"""


def settle(tx: Transaction, done: Settlement) -> bool:
    """Write what a run made of its record; False when the record is no longer its own."""
    status = Status.FAILED if done.outcome is None else Status.PROCESSED
    outcome = done.outcome or Outcome()
    milliseconds = rollups.rounded(max(0, done.at - done.asked_at) // 1000)
    values = {
        "id": done.ticket.record_id,
        "owner": done.owner,
        "run_id": done.run_id,
        "status": status.value,
        "classification": outcome.classification,
        "score": outcome.score,
        "result": None if outcome.result is None else orjson.dumps(outcome.result).decode(),
        "error": done.error,
        "at": to_iso(done.at),
        "processing_ms": milliseconds,
    }
    if tx.execute(_SETTLE, values).rowcount != 1:
        return False
    ended = _delta(done.ticket, status, 1, done.error, milliseconds, to_iso(done.at)[:13])
    rollups.write(tx, [_delta(done.ticket, Status.PENDING, -1), ended])
    return True


def _delta(
    ticket: Ticket,
    status: Status,
    amount: int,
    reason: str | None = None,
    duration: int | None = None,
    ended: str | None = None,
) -> Delta:
    return Delta(ticket.day, status.value, ticket.category, ticket.source, reason, duration, ended, amount)
