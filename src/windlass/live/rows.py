"""Rows of what runs tell and are asked: written with the commits of their runs, read by anybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from windlass.engine.ports import Ring, Transaction
from windlass.kernel.items import StreamItem
from windlass.storage.queries import iso
from windlass.storage.schema import workflow_published, workflow_requests, workflow_stream_items

_ITEM = ("run_id", "stream", "item_offset", "item_json", "step_id", "attempt", "created_at")
_REQUEST = ("run_id", "request_id", "kind", "name", "digest", "state", "created_at")
_PUBLISH = """INSERT INTO workflow_published (run_id, key, value_json, updated_at)
 VALUES (:run_id, :key, :value, :at) ON CONFLICT (run_id, key)
 DO UPDATE SET value_json = excluded.value_json, updated_at = excluded.updated_at"""
_ANSWER = """UPDATE workflow_requests SET state = :state, answer_json = :answer
 WHERE run_id = :run_id AND request_id = :request_id"""

SENT, ACCEPTED, COMPLETED, FAILED, REFUSED = "sent", "accepted", "completed", "failed", "refused"
"""Where an update stands; a query is sent, then completed, failed or refused. The last three are final."""


class Page(NamedTuple):
    """Items of a stream in order; ``closed``: they are the last, nothing will ever come after them."""

    items: list[StreamItem]
    closed: bool


class Request(NamedTuple):
    """An update or a query as it stands. ``answer`` is the result, or a message where it failed or was refused."""

    request_id: str
    kind: str
    name: str
    digest: str
    state: str
    answer: Any

    @property
    def over(self) -> bool:
        """Whether it has its answer."""
        return self.state in {COMPLETED, FAILED, REFUSED}


class Answer(NamedTuple):
    """What an update or a query has come to; ``answer`` is JSON text."""

    run_id: str
    request_id: str
    state: str
    answer: str | None


def place(run_id: str, request_id: str) -> str:
    """Return by what those who wait for an answer are found, beside those who wait for the ends of runs."""
    return f"{run_id}/{request_id}"


# writing
def write_items(tx: Transaction, rows: Sequence[Sequence[object]]) -> None:
    """Add items: run, stream, offset, JSON text (None is the end), step, attempt and ISO time of each."""
    tx.insert_rows(workflow_stream_items, _ITEM, rows)


def write_published(tx: Transaction, rows: Sequence[tuple[str, str, str, str]]) -> None:
    """Put the newest value of each key: run, key, JSON text and ISO time."""
    newest = {row[:2]: row for row in rows}
    params: list[Mapping[str, Any]] = [
        {"run_id": run_id, "key": key, "value": value, "at": at} for run_id, key, value, at in newest.values()
    ]
    tx.execute(_PUBLISH, params)


def write_answers(tx: Transaction, rows: Sequence[Answer]) -> None:
    """Say what updates and queries have come to, and wake those who wait for it."""
    tx.execute(_ANSWER, [row._asdict() for row in rows])
    tx.rings.extend(Ring("ended", place(row.run_id, row.request_id)) for row in rows if row.state != ACCEPTED)


def add_request(tx: Transaction, row: Sequence[object]) -> None:
    """Add an update or a query that is sent."""
    tx.insert_rows(workflow_requests, _REQUEST, [row])


def drop_request(tx: Transaction, run_id: str, request_id: str) -> None:
    """Forget a query."""
    c = workflow_requests.c
    tx.connection.execute(sa.delete(workflow_requests).where(c.run_id == run_id, c.request_id == request_id))


# reading
def find_request(connection: sa.Connection, run_id: str, request_id: str) -> Request | None:
    """Return an update or a query."""
    c = workflow_requests.c
    query = sa.select(
        c.request_id, c.kind, c.name, c.digest, c.state, sa.cast(c.answer_json, sa.Text).label("answer")
    ).where(c.run_id == run_id, c.request_id == request_id)
    row = connection.execute(query).first()
    return None if row is None else Request(row[0], row[1], row[2], row[3], row[4], _loads(row[5]))


def find_items(connection: sa.Connection, run_id: str, stream: str, offset: int, limit: int) -> Page:
    """Return items of a stream from an offset on."""
    c = workflow_stream_items.c
    query = (
        sa.select(c.item_offset, sa.cast(c.item_json, sa.Text), c.step_id, c.attempt, c.created_at)
        .where(c.run_id == run_id, c.stream == stream, c.item_offset >= offset)
        .order_by(c.item_offset)
        .limit(limit + 1)
    )
    rows = connection.execute(query).all()
    items = [
        StreamItem(at, orjson.loads(text), step, attempt, iso(when) or "")
        for at, text, step, attempt, when in rows[:limit]
        if text is not None
    ]
    end = any(text is None for _, text, _, _, _ in rows)
    return Page(items, end or (not rows and _ends_before(connection, run_id, stream, offset)))


def _ends_before(connection: sa.Connection, run_id: str, stream: str, offset: int) -> bool:
    return offset > 0 and find_end(connection, run_id, stream)[1]


def find_end(connection: sa.Connection, run_id: str, stream: str) -> tuple[int, bool]:
    """Return the offset of a stream's next item, and whether it is closed."""
    c = workflow_stream_items.c
    query = sa.select(c.item_offset, c.item_json.is_(None)).where(c.run_id == run_id, c.stream == stream)
    last = connection.execute(query.order_by(c.item_offset.desc()).limit(1)).first()
    return (0, False) if last is None else (last[0] + (0 if last[1] else 1), bool(last[1]))


def find_published(connection: sa.Connection, run_id: str) -> dict[str, Any]:
    """Return what a run has published, by key."""
    c = workflow_published.c
    query = sa.select(c.key, sa.cast(c.value_json, sa.Text)).where(c.run_id == run_id).order_by(c.key)
    return {key: orjson.loads(text) for key, text in connection.execute(query)}


def _loads(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)
