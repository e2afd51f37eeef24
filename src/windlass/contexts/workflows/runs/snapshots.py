"""Definitions as runs were started with them: kept once for each content, and never changed.

One that is used says so once a day (``last_used``), so that what nobody needs can be told; see ``forgetting``.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from windlass.contexts.workflows.runs.tables import snapshots
from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.kernel.clock import SECOND
from windlass.kernel.errors import NotFound

KEPT = 512
DAY = 86_400 * SECOND
"""For how long, in microseconds, one that was stored is taken to be there."""


def canonical(document: Mapping[str, Any]) -> str:
    """Return a document's JSON with its fields in one order."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS).decode()


def digest_of(text: str) -> str:
    """Return the digest of canonical JSON."""
    return hashlib.sha256(text.encode()).hexdigest()


class _Kept(NamedTuple):
    """A document, and when this process last said that it is used."""

    document: Mapping[str, Any]
    told_at: int | None


class Snapshots:
    """Keeps documents and gives them back; those used last are at hand."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def keep(self, document: Mapping[str, Any]) -> str:
        """Store a document, or say that it is used, unless that was done within a day; returns its digest."""
        text = canonical(document)
        digest = digest_of(text)
        now = self._engine.clock.now()
        kept = self._kept.get(digest)
        if kept is None or kept.told_at is None or not kept.told_at <= now < kept.told_at + DAY:
            await self._engine.transact(lambda tx: store_in(tx, digest, text, now))
            self._remember(digest, _Kept(document, now))
        return digest

    async def load(self, digest: str) -> Mapping[str, Any]:
        """Return a document.

        Raises:
            NotFound: there is none.
        """
        known = self._kept.get(digest)
        if known is None:
            query = sa.select(snapshots.c.document).where(snapshots.c.digest == digest)
            text = await self._engine.read(lambda connection: connection.execute(query).scalar_one_or_none())
            if text is None:
                raise NotFound(f"no definition {digest}")
            known = _Kept(orjson.loads(text), None)
            self._remember(digest, known)
        return known.document

    def _remember(self, digest: str, kept: _Kept) -> None:
        self._kept[digest] = kept
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)


def store_in(tx: Transaction, digest: str, text: str, now: int) -> None:
    """Store canonical JSON unless it is there, and see to it that it was used within a day.

    In this order: what the first statement leaves alone is too young to be removed before the second.
    """
    tx.execute(
        "UPDATE workflow_snapshots SET last_used = :now"
        " WHERE digest = :digest AND (last_used IS NULL OR last_used < :stale)",
        {"digest": digest, "now": now, "stale": now - DAY},
    )
    tx.execute(
        "INSERT INTO workflow_snapshots (digest, document, created_at, last_used)"
        " VALUES (:digest, :document, :now, :now) ON CONFLICT (digest) DO NOTHING",
        {"digest": digest, "document": text, "now": now},
    )
