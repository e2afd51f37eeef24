"""Making up for a past window: its slots that have had no run of their own, at a limited rate."""

from __future__ import annotations

from typing import Any

from windlass.contexts.schedules import runs, store
from windlass.contexts.schedules.cron import cron
from windlass.contexts.schedules.firing import Firing
from windlass.contexts.schedules.model import Kind, Outcome
from windlass.contexts.schedules.store import Fire
from windlass.engine.ports import Transaction

LOOKED_AT = 200
"""How many slots one step looks at: most of them may have had their runs."""
MOST_SLOTS = 10_000
"""The longest window, in slots."""


def fill(tx: Transaction, firing: Firing, window: dict[str, Any], after: int) -> dict[str, Any]:
    """Start the next slot of a window, if there is a place.

    Args:
        tx: the transaction.
        firing: starts runs.
        window: what the backfill's run was given.
        after: the slots up to here have been looked at.

    Returns:
        ``after``, ``done`` (nothing is left), ``busy`` (there is no place now) and ``outcome``.
    """
    schedule = store.get(tx.connection, window["schedule_id"], lock=True)
    if schedule is None:
        return {"after": after, "done": True, "busy": False, "outcome": None}
    looked = 0
    for slot in cron(window["cron"], window["timezone"]).after(after):
        if slot > window["end"]:
            break
        if looked == LOOKED_AT:
            return {"after": after, "done": False, "busy": False, "outcome": None}
        looked += 1
        run_id = runs.slot_run_id(schedule.id, slot)
        if store.has_run(tx, run_id):
            after = slot
            continue
        if store.live(tx, schedule.id, (Kind.BACKFILL,), window["at_once"]) >= window["at_once"]:
            return {"after": after, "done": False, "busy": True, "outcome": None}
        fire = firing.start(tx, schedule, Fire(Kind.BACKFILL, slot, slot, 1, run_id, Outcome.PENDING))
        if fire.status is Outcome.PENDING:  # over a limit for a moment
            return {"after": after, "done": False, "busy": True, "outcome": None}
        store.add_fire(tx, schedule.id, fire, firing.clock.now())
        return {"after": slot, "done": False, "busy": False, "outcome": fire.status.value}
    return {"after": after, "done": True, "busy": False, "outcome": None}


def count(line: str, zone: str, start: int, end: int) -> int:
    """Return how many slots a window has, both ends included, counting no further than one more than is allowed."""
    found = 0
    for slot in cron(line, zone).after(start - 1):
        if slot > end or found > MOST_SLOTS:
            break
        found += 1
    return found
