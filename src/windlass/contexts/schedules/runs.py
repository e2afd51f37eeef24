"""Runs that a transaction starts and ends beside its rows, and the names that tell them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import sqlalchemy as sa

from windlass.engine.control import CONTROL
from windlass.engine.errors import RunConflict
from windlass.engine.journal import START
from windlass.engine.ports import Transaction
from windlass.engine.types import TERMINAL, ControlRequest, NewRun, StartRequest, Status
from windlass.kernel.clock import SECOND
from windlass.kernel.ids import new_id
from windlass.kernel.versions import parts_of
from windlass.storage.schema import workflow_leases, workflow_runs
from windlass.values.codec import encode

TICK = "schedules.tick"
DRAIN = "schedules.drain"
BACKFILL = "schedules.backfill"
BACKFILL_PART = "schedules.backfill_part"
SWEEP = "schedules.sweep"
QUEUE = "schedules"
PRIORITY = -100
"""Before what waits in other queues: a tick takes milliseconds, and is the one thing here that must not be late."""


def slot_run_id(schedule_id: str, slot: int) -> str:
    """Return the id of the run of a slot: 32 hexadecimal digits, the same whoever makes it."""
    return hashlib.blake2b(f"{schedule_id}@{slot}".encode(), digest_size=16).hexdigest()


def asked_run_id(schedule_id: str, key: str | None) -> str:
    """Return the id of a run that somebody asked for: the same for the same Idempotency-Key."""
    if key is None:
        return new_id().replace("-", "")
    return hashlib.blake2b(f"{schedule_id}#{key}".encode(), digest_size=16).hexdigest()


def tick_run_id(schedule_id: str, revision: int, slot: int) -> str:
    """Return the id of the run that waits for a slot."""
    return f"tick.{schedule_id}.{revision}.{slot // SECOND}"


def start(tx: Transaction, run: NewRun) -> bool:
    """Start a run under its own id inside a transaction; False when there is such a run already.

    Raises:
        Exception: whatever else the engine refuses.
    """
    tx.lock_runs([run.run_id])
    answer = START.apply(tx, [StartRequest(run, own_id=True)])[0]
    if isinstance(answer, RunConflict):
        return False
    if isinstance(answer, Exception):
        raise answer
    return True


def start_own(
    tx: Transaction, name: str, inputs: dict[str, object], run_id: str, *, now: int, tenant_id: str, at: int = 0
) -> None:
    """Start one of this context's own runs, at ``at`` or at once, unless it is there."""
    run = NewRun(
        run_id, name, encode(inputs, f"input of {name}"), now, queue=QUEUE, priority=PRIORITY, tenant_id=tenant_id,
        wake_at=at if at > now else None,
    )  # fmt: skip
    start(tx, run)


def cancel(tx: Transaction, run_id: str | None, reason: str, now: int) -> None:
    """Cancel a run that is open, for somebody who has made it needless."""
    head = tx.lock_runs([run_id]).get(run_id) if run_id is not None else None
    if head is not None and run_id is not None and head.status not in TERMINAL:
        CONTROL.apply(tx, [ControlRequest(run_id, "cancel", "schedules", reason, new_id(), now)])


def going(connection: sa.Connection, run_ids: Iterable[str]) -> set[str]:
    """Return those of the runs that will do something by themselves: open and not paused."""
    c = workflow_runs.c
    idle = [*sorted(TERMINAL), Status.PAUSED]
    query = sa.select(c.run_id).where(c.run_id.in_(list(run_ids)), c.status.not_in(idle))
    return set(connection.scalars(query))


def carried_out(connection: sa.Connection, name: str) -> bool:
    """Say whether a live process carries out the workflow of this name."""
    lists = connection.scalars(sa.select(workflow_leases.c.workflows).where(workflow_leases.c.state == "live"))
    return any(name == parts_of(code)[0] for codes in lists for code in codes.split(","))
