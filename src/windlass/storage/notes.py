"""Notes: events that others write into a run's journal, which neither replay nor retry reads anything from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from windlass.engine.errors import UnknownRun
from windlass.engine.heads import append
from windlass.engine.ports import Transaction
from windlass.engine.types import NewEvent
from windlass.kernel.checks import check_name
from windlass.kernel.errors import Invalid
from windlass.values.codec import encode

MEANT_FOR_REPLAY = frozenset({"run_failed", "run_retried"})
"""Events that mean something to replay though they belong to no call of the code."""


def note_in(tx: Transaction, run_id: str, event_type: str, payload: Mapping[str, Any], at: int) -> int:
    """Append an event to a run, whoever holds it and also after its end; it belongs to no call of the code.

    Args:
        tx: the open transaction that the note is a part of.
        run_id: which run.
        event_type: a name that the engine does not use itself.
        payload: JSON data.
        at: microseconds.

    Returns:
        the number of the event.

    Raises:
        UnknownRun: there is no such run; nothing was written.
        Invalid: the type is one that replay reads.
        NotSerializable: the payload cannot be kept as JSON.
    """
    if check_name(event_type) in MEANT_FOR_REPLAY:
        raise Invalid(f"{event_type} is an event of the engine's own", field="event_type")
    text = encode(dict(payload), f"payload of {event_type}")
    head = tx.lock_runs([run_id]).get(run_id)
    if head is None:
        raise UnknownRun(f"no run {run_id}", run_id=run_id)
    append(tx, head, NewEvent(event_type, None, text, at))
    tx.bump_runs([head])
    return head.last_seq
