"""Changes to a locked run head: numbers, wake-ups, the terminal state."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from windlass.engine.ports import Ring, Transaction
from windlass.engine.types import RESUMED, WITH_PEOPLE, Event, Finish, NewEvent, RunHead, Status


def wake(tx: Transaction, head: RunHead, at: int) -> bool:
    """Make a parked run ready; says whether its head changed. Its timers are set anew if it parks again."""
    if head.holder is not None or head.ready_at is not None:
        return False
    if head.status in WITH_PEOPLE:
        head.status, head.status_reason = Status.RUNNING, None
    elif head.status != Status.RUNNING:
        return False
    head.ready_at, head.wake_at = at, None
    head.claim_rank = RESUMED
    tx.rings.append(Ring("ready", head.run_id))
    return True


def number(head: RunHead, events: Iterable[NewEvent]) -> list[Event]:
    """Give events their numbers from the locked head and move ``last_seq`` on."""
    seq = head.last_seq
    rows = []
    for event in events:
        seq += 1
        rows.append(Event(head.run_id, seq, *event))
    head.last_seq = seq
    return rows


def close(head: RunHead, outcome: Finish) -> None:
    """Make a head terminal."""
    head.status = outcome.status
    head.status_reason = outcome.reason
    head.wait_reason = None
    head.holder = None
    head.ready_at = None
    head.wake_at = None


def append(tx: Transaction, head: RunHead, *events: NewEvent) -> None:
    """Append events to a run nobody holds."""
    tx.append_events(number(head, events))


def note_failures(tx: Transaction, events: Iterable[Event]) -> None:
    """Keep with runs how often their steps have been tried in vain, by which they are listed."""
    failed: dict[str, int] = {}
    for event in events:
        if event.type == "step_failed":
            attempt = orjson.loads(event.payload).get("attempt", 1)
            failed[event.run_id] = max(failed.get(event.run_id, 0), attempt)
    if failed:
        tx.note_failures(sorted(failed.items()))


def to_json(value: object) -> str:
    """Return small engine-made values as JSON text."""
    return orjson.dumps(value).decode()
