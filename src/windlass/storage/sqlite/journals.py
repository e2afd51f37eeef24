"""Journals read back: column by column and in one step, for a long one is what a replay waits for.

``group_concat`` copies where JSON would escape and be read again. Its separator is none that JSON text can hold.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter

import orjson

from windlass.engine.history import CONTINUED
from windlass.engine.types import Event
from windlass.kernel.clock import from_iso
from windlass.kernel.collection import uncollected

_SEPARATOR = "\x1e"
_BYTES = 2
"""About how long the place of an event's run is."""
_event = partial(tuple.__new__, Event)
"""As ``Event._make``, which is Python."""
_LOAD = f"""SELECT json_group_array(w.key), json_group_array(e.event_seq), json_group_array(e.event_type),
 json_group_array(e.step_id), group_concat(e.payload_json, char({ord(_SEPARATOR)})),
 group_concat(e.created_at, char({ord(_SEPARATOR)})) FROM json_each(?) w
 CROSS JOIN workflow_events e ON e.run_id = w.value AND e.event_seq >= coalesce((SELECT max(c.event_seq)
 FROM workflow_events c WHERE c.run_id = w.value AND c.event_type = '{CONTINUED}'), 1)"""
"""Without an order: to sort takes longer than all else, and they come as the primary key has them."""
_LOAD_ROWS = """SELECT run_id, event_seq, event_type, step_id, payload_json, created_at FROM workflow_events
 WHERE run_id = ?1 AND event_seq >= coalesce((SELECT max(event_seq) FROM workflow_events
 WHERE run_id = ?1 AND event_type = ?2), 1) ORDER BY event_seq"""


def load_events(raw: sqlite3.Connection, run_ids: Sequence[str]) -> dict[str, list[Event]]:
    """Return the journals of runs, each from where a replay of it begins; see ``engine.ports.Transaction``."""
    try:
        found = raw.execute(_LOAD, (orjson.dumps(run_ids).decode(),)).fetchone()
    except sqlite3.DataError:  # together they are longer than any text of SQLite may be
        return {run_id: journal for run_id in run_ids if (journal := _by_rows(raw, run_id))}
    if found[-1] is None:
        return {}
    with uncollected(len(found[0]) // _BYTES):
        places, *columns = map(orjson.loads, found[:4])
        payloads, stamps = (column.split(_SEPARATOR) for column in found[4:])
        rows = zip(map(run_ids.__getitem__, places), *columns, payloads, _micros(stamps), strict=True)
        events = list(map(_event, rows))
        events.sort(key=itemgetter(0))
        journals = {run_id: list(journal) for run_id, journal in groupby(events, itemgetter(0))}
        for journal in journals.values():
            journal.sort(key=itemgetter(1))
    return journals


def _by_rows(raw: sqlite3.Connection, run_id: str) -> list[Event]:
    return [Event._make((*row[:5], from_iso(row[5]))) for row in raw.execute(_LOAD_ROWS, (run_id, CONTINUED))]


def _micros(stamps: Sequence[str]) -> Iterator[int]:
    """Read time stamps as ``to_iso`` writes them; many share their second."""
    second, start = "", 0
    for stamp in stamps:
        if not stamp.startswith(second) or not second:
            second = stamp[:20]
            start = from_iso(f"{second}000000Z")
        yield start + int(stamp[20:26])
