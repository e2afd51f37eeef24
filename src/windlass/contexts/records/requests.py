"""Answers kept for requests that carry an ``Idempotency-Key``, so that repeating one repeats its answer."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import sqlalchemy as sa

from windlass.contexts.records.tables import record_requests
from windlass.engine.ports import Transaction
from windlass.kernel.errors import Conflict
from windlass.storage.queries import text as json_text

WHOLE = -1
"""The part that stands for a whole bulk request; its chunks count from 0."""


_KEEP = """INSERT INTO record_requests (scope, key, part, request_hash, answer, expires_at)
 VALUES (:scope, :key, :part, :digest, :answer, :expires_at) ON CONFLICT DO NOTHING"""


class RequestKey(NamedTuple):
    """A request or a part of one: what it asks is told from another one by ``digest``.

    ``now`` and ``expires_at`` are microseconds.
    """

    scope: str
    key: str
    part: int
    digest: str
    now: int
    expires_at: int


def digest(*parts: str | bytes) -> str:
    """Return a hash that tells requests apart."""
    summed = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        summed.update(len(data).to_bytes(8))
        summed.update(data)
    return summed.hexdigest()


def look(connection: sa.Connection, key: RequestKey) -> str | None:
    """Return the answer kept under a key, whatever the request was."""
    c = record_requests.c
    place = (c.scope == key.scope, c.key == key.key, c.part == key.part, c.expires_at > key.now)
    return json_text(connection.execute(sa.select(c.answer).where(*place)).scalar())


def recall(tx: Transaction, key: RequestKey) -> str | None:
    """Return the answer (JSON text) that the request got before, or None when it is new.

    Raises:
        Conflict: the key was used with another request.
    """
    c = record_requests.c
    place = (c.scope == key.scope, c.key == key.key, c.part == key.part)
    row = tx.connection.execute(sa.select(c.request_hash, c.answer, c.expires_at).where(*place)).first()
    if row is None:
        return None
    if row.expires_at <= key.now:
        tx.connection.execute(sa.delete(record_requests).where(*place))
        return None
    if row.request_hash != key.digest:
        raise Conflict("Idempotency-Key was used with another request", idempotency_key=key.key)
    return json_text(row.answer)


def claim(tx: Transaction, key: RequestKey, answer: str) -> str | None:
    """Keep an answer (JSON text) for a new request, or return what the request was answered before.

    Raises:
        Conflict: the key was used with another request.
    """
    known = recall(tx, key)
    if known is not None or tx.execute(_KEEP, key._asdict() | {"answer": answer}).rowcount == 1:
        return known
    return recall(tx, key)


def forget_expired(tx: Transaction, now: int, most: int = 1000) -> int:
    """Delete answers whose time is up; returns how many."""
    c = record_requests.c
    old = sa.select(c.scope, c.key, c.part).where(c.expires_at <= now).limit(most)
    gone = sa.delete(record_requests).where(sa.tuple_(c.scope, c.key, c.part).in_(old))
    return int(tx.connection.execute(gone).rowcount)
