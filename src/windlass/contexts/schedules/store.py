"""Rows of schedules and their fires, the same on both databases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from windlass.contexts.schedules.model import Kind, Outcome, Schedule, iso
from windlass.contexts.schedules.tables import workflow_schedule_fires, workflow_schedules
from windlass.engine.ports import Transaction
from windlass.engine.types import TERMINAL
from windlass.kernel.ids import new_id
from windlass.storage.queries import iso as shown
from windlass.storage.queries import micros

COLUMNS = (
    "id", "tenant_id", "user_id", "workflow_id", "workflow", "name", "cron", "timezone", "inputs_json", "run_mode",
    "validation_mode", "enabled", "require_online", "concurrency_mode", "misfire_grace_sec", "coalesce", "revision",
    "done_until", "tick_run_id", "drain_run_id", "last_run_at", "next_run_at", "last_status", "created_at",
    "updated_at",
)  # fmt: skip
"""The columns of a ``Schedule``, in its own order."""
TIMES = frozenset({"last_run_at", "next_run_at", "created_at", "updated_at"})
FIRE = (
    "fire_id", "schedule_id", "kind", "slot", "first_slot", "slots", "run_id", "status", "reason", "live", "created_at",
)  # fmt: skip
_ENDED = ",".join(f"'{status.value}'" for status in sorted(TERMINAL))
_OPEN = f"SELECT 1 FROM workflow_runs r WHERE r.run_id = f.run_id AND r.status NOT IN ({_ENDED})"  # noqa: S608  ours
_SEE_ENDED = (
    "UPDATE workflow_schedule_fires AS f SET live = false WHERE schedule_id = :schedule AND live"  # noqa: S608  ours
    f" AND NOT EXISTS ({_OPEN})"
)
_PAIRS = ", ".join(f"{name} = :{name}" for name in COLUMNS[1:])
_WRITE = f"UPDATE workflow_schedules SET {_PAIRS} WHERE id = :id"  # noqa: S608  our own columns
_STARTED = "UPDATE workflow_schedule_fires SET status = 'queued', live = true WHERE fire_id = :fire"
_REFUSED = "UPDATE workflow_schedule_fires SET status = :status, reason = :reason, run_id = NULL WHERE fire_id = :fire"
_ENABLED, _LIVE, _PENDING = sa.text("enabled"), sa.text("live"), sa.text("status = 'pending'")
"""Conditions word for word as the indexes have them, or SQLite does not see that they fit."""
REASON_LENGTH = 500

_s = workflow_schedules.c
_f = workflow_schedule_fires.c


class Fire(NamedTuple):
    """What became of a slot (or of several: then it is the last of ``slots``, the first of them being ``first_slot``).

    ``run_id`` is unique: it is the slot's, and who finds it taken starts nothing.
    """

    kind: Kind
    slot: int | None
    first_slot: int | None
    slots: int
    run_id: str | None
    status: Outcome
    reason: str | None = None


# schedules
def get(connection: sa.Connection, schedule_id: str, *, lock: bool = False) -> Schedule | None:
    """Return a schedule, or None; ``lock`` keeps it from being changed by others until the transaction ends."""
    query = sa.select(*(_s[name] for name in COLUMNS)).where(_s.id == schedule_id)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else _schedule(row)


def _schedule(row: Sequence[Any]) -> Schedule:
    values = dict(zip(COLUMNS, row, strict=True))
    inputs = values.pop("inputs_json")
    values["inputs"] = orjson.loads(inputs) if isinstance(inputs, str) else inputs
    for name in TIMES:
        values[name] = None if values[name] is None else micros(values[name])
    return Schedule(**values)


def _kept(schedule: Schedule, name: str) -> Any:
    if name == "inputs_json":
        return orjson.dumps(schedule.inputs).decode()
    value = getattr(schedule, name)
    return iso(value) if name in TIMES else value


def insert(tx: Transaction, schedule: Schedule) -> None:
    """Insert a schedule."""
    tx.insert_rows(workflow_schedules, COLUMNS, [[_kept(schedule, name) for name in COLUMNS]])


def write(tx: Transaction, schedule: Schedule) -> None:
    """Write a locked schedule back."""
    tx.execute(_WRITE, {name: _kept(schedule, name) for name in COLUMNS})


def delete(tx: Transaction, schedule_id: str) -> None:
    """Delete a schedule; its fires are swept later."""
    tx.connection.execute(sa.delete(workflow_schedules).where(_s.id == schedule_id))


def page(connection: sa.Connection, tenant_id: str, owner: str | None, limit: int, offset: int) -> list[Schedule]:
    """Return schedules of a tenant, newest first; ``owner`` None means everybody's."""
    query = sa.select(*(_s[name] for name in COLUMNS)).where(_s.tenant_id == tenant_id)
    if owner is not None:
        query = query.where(_s.user_id == owner)
    ordered = query.order_by(_s.created_at.desc(), _s.id.desc()).limit(limit).offset(offset)
    return [_schedule(row) for row in connection.execute(ordered)]


def count_enabled(connection: sa.Connection, tenant_id: str) -> int:
    """Return how many schedules of a tenant are enabled."""
    query = sa.select(sa.func.count()).where(_s.tenant_id == tenant_id, _ENABLED)
    return int(connection.scalar(query) or 0)


def page_enabled(
    connection: sa.Connection, after: str, limit: int, overdue: int | None
) -> list[tuple[str, str | None, str | None]]:
    """Return id, tick and drain of enabled schedules beyond an id, or of those whose time was over at ``overdue``."""
    query = sa.select(_s.id, _s.tick_run_id, _s.drain_run_id).where(_ENABLED, _s.id > after)
    if overdue is not None:
        late = sa.bindparam(None, iso(overdue), type_=_s.next_run_at.type)
        query = query.where(_s.next_run_at < late)
    return [(row[0], row[1], row[2]) for row in connection.execute(query.order_by(_s.id).limit(limit))]


# fires
def add_fire(tx: Transaction, schedule_id: str, fire: Fire, now: int) -> None:
    """Write down what became of a slot."""
    reason = None if fire.reason is None else fire.reason[:REASON_LENGTH]
    live = fire.status is Outcome.QUEUED
    row = [
        new_id(), schedule_id, fire.kind.value, iso(fire.slot), iso(fire.first_slot), fire.slots, fire.run_id,
        fire.status.value, reason, live, iso(now),
    ]  # fmt: skip
    tx.insert_rows(workflow_schedule_fires, FIRE, [row])


def has_run(tx: Transaction, run_id: str) -> bool:
    """Say whether a run was ordered before, be it started or waiting for a place."""
    return tx.connection.execute(sa.select(_f.fire_id).where(_f.run_id == run_id)).first() is not None


def live(tx: Transaction, schedule_id: str, kinds: Sequence[Kind], most: int) -> int:
    """Return how many runs of a schedule are open, counting no further than ``most``."""
    tx.execute(_SEE_ENDED, {"schedule": schedule_id})
    some = sa.select(_f.fire_id).where(_f.schedule_id == schedule_id, _LIVE, _f.kind.in_(kinds)).limit(most)
    return int(tx.connection.scalar(sa.select(sa.func.count()).select_from(some.subquery())) or 0)


def pending(tx: Transaction, schedule_id: str, most: int) -> list[tuple[str, str, int]]:
    """Return ``(fire_id, run_id, slot)`` of fires that wait for a place, the longest waiting first."""
    query = sa.select(_f.fire_id, _f.run_id, _f.slot).where(_f.schedule_id == schedule_id, _PENDING)
    rows = tx.connection.execute(query.order_by(_f.fire_id).limit(most))
    return [(row[0], row[1], micros(row[2])) for row in rows]


def started(tx: Transaction, fire_id: str) -> None:
    """Say that a fire that waited has its run."""
    tx.execute(_STARTED, {"fire": fire_id})


def refused(tx: Transaction, fire_id: str, status: Outcome, reason: str) -> None:
    """Say that a fire that waited cannot have a run."""
    tx.execute(_REFUSED, {"fire": fire_id, "status": status.value, "reason": reason[:REASON_LENGTH]})


def fires(connection: sa.Connection, schedule_id: str, limit: int, before: str | None) -> list[dict[str, Any]]:
    """Return fires of a schedule as they are shown, newest first."""
    query = sa.select(*(_f[name] for name in FIRE)).where(_f.schedule_id == schedule_id)
    if before is not None:
        query = query.where(_f.fire_id < before)
    rows = connection.execute(query.order_by(_f.fire_id.desc()).limit(limit)).mappings()
    return [
        {
            "fire_id": row["fire_id"],
            "kind": row["kind"],
            "slot": shown(row["slot"]),
            "first_slot": shown(row["first_slot"]),
            "slots": row["slots"],
            "run_id": row["run_id"],
            "status": row["status"],
            "reason": row["reason"],
            "created_at": shown(row["created_at"]),
        }
        for row in rows
    ]


def sweep(tx: Transaction, schedule_id: str, most: int) -> int:
    """Delete some fires of a schedule that is gone; returns how many."""
    some = sa.select(_f.fire_id).where(_f.schedule_id == schedule_id).limit(most)
    gone = tx.connection.execute(sa.delete(workflow_schedule_fires).where(_f.fire_id.in_(some)))
    return int(gone.rowcount)
