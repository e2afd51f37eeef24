"""What a fork takes over of what the old run has told: items of streams, and published values."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import sqlalchemy as sa

from windlass.engine.heads import to_json
from windlass.engine.ports import Transaction
from windlass.engine.types import Event
from windlass.kernel.clock import to_iso
from windlass.storage.schema import workflow_published, workflow_stream_items

_WRITTEN = frozenset({"stream_written", "step_streamed", "stream_closed"})
_PUBLISHED = frozenset({"value_published", "step_published"})


def take_over(tx: Transaction, run_id: str, fork: str, events: Sequence[Event]) -> None:
    """Give a fork what ``run_id`` wrote and published up to where ``events``, taken over from it, have come.

    They name offsets that the fork's readers must find, and after which it goes on. What lies between, of a step that
    is done anew, comes along as the items of an attempt that failed.
    """
    ends: dict[str, int] = {}
    values: dict[str, tuple[str, str]] = {}
    for event in events:
        if event.type in _WRITTEN:
            said = orjson.loads(event.payload)
            if "offset" in said:
                end = said["offset"] + said.get("items", 1)  # a stream's end is a row, too
                ends[said["stream"]] = max(end, ends.get(said["stream"], 0))
        elif event.type in _PUBLISHED:
            said = orjson.loads(event.payload)
            values[said["key"]] = to_json(said["value"]), to_iso(event.at)
    table, c = workflow_stream_items, workflow_stream_items.c
    columns = [column for column in c if column is not c.run_id]
    for stream, end in ends.items():
        some = sa.select(sa.literal(fork), *columns).where(c.run_id == run_id, c.stream == stream, c.item_offset < end)
        tx.connection.execute(sa.insert(table).from_select([c.run_id, *columns], some))
    rows = [(fork, key, text, at) for key, (text, at) in values.items()]
    tx.insert_rows(workflow_published, ("run_id", "key", "value_json", "updated_at"), rows)
