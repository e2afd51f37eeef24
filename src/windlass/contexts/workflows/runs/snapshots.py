"""Definitions as runs were started with them: kept once for each content, and never changed."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import orjson
import sqlalchemy as sa

from windlass.contexts.workflows.runs.tables import snapshots
from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.kernel.errors import NotFound

KEPT = 512


def canonical(document: Mapping[str, Any]) -> str:
    """Return a document's JSON with its fields in one order."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS).decode()


def digest_of(text: str) -> str:
    """Return the digest of canonical JSON."""
    return hashlib.sha256(text.encode()).hexdigest()


class Snapshots:
    """Keeps documents and gives them back; those used last are at hand."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    async def keep(self, document: Mapping[str, Any]) -> str:
        """Store a document unless it is there; returns its digest."""
        text = canonical(document)
        digest = digest_of(text)
        if digest not in self._kept:
            now = self._engine.clock.now()
            await self._engine.transact(lambda tx: store_in(tx, digest, text, now))
            self._remember(digest, document)
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
            known = orjson.loads(text)
            self._remember(digest, known)
        return known

    def _remember(self, digest: str, document: Mapping[str, Any]) -> None:
        self._kept[digest] = document
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)


def store_in(tx: Transaction, digest: str, text: str, now: int) -> None:
    """Store canonical JSON unless it is there."""
    tx.execute(
        "INSERT INTO workflow_snapshots (digest, document, created_at) VALUES (:digest, :document, :now)"
        " ON CONFLICT (digest) DO NOTHING",
        {"digest": digest, "document": text, "now": now},
    )
