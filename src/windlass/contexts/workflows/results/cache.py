"""Where the step type ``cache_result`` keeps values: a table, so that every process and every later run sees them."""

from __future__ import annotations

from typing import Any

import orjson
import sqlalchemy as sa

from windlass.contexts.workflows.failures import StepFailure
from windlass.contexts.workflows.results.tables import results
from windlass.contexts.workflows.steptypes.base import Found
from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.kernel.clock import SECOND

MOST_BYTES = 256 * 1024
"""Of one value as JSON."""
MOST_ENTRIES = 10_000
"""Of one tenant; beyond, those go first whose time is up first."""
SWEPT = 100
"""How many values whose time is up are removed with each one that is kept."""

_KEEP = """INSERT INTO workflow_cached_results (tenant_id, cache_key, value, created_at, expires_at)
 VALUES (:tenant, :key, :value, :now, :until) ON CONFLICT (tenant_id, cache_key) DO UPDATE SET value = excluded.value,
 created_at = excluded.created_at, expires_at = excluded.expires_at"""
_KEEP_FIRST = f"{_KEEP} WHERE workflow_cached_results.expires_at <= :now"
_OLDEST = """SELECT tenant_id, cache_key FROM workflow_cached_results WHERE {which} ORDER BY expires_at LIMIT :most"""
_DROP = f"""DELETE FROM workflow_cached_results WHERE (tenant_id, cache_key) IN ({_OLDEST})"""  # noqa: S608  constants
_SWEEP = _DROP.format(which="expires_at <= :now")
_MAKE_ROOM = _DROP.format(which="tenant_id = :tenant AND cache_key <> :key")


class ResultCache:
    """``steptypes.base.Cache`` in the database of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def get(self, tenant_id: str, key: str) -> Found | None:
        """Return a value and its age; None when there is none, or its time is up."""
        now = self._engine.clock.now()
        return await self._engine.read(lambda connection: _load(connection, tenant_id, key, now))

    async def put(self, tenant_id: str, key: str, value: Any, ttl_seconds: float, *, replace: bool) -> Found:
        """Keep a value for so long, unless there is one and it is not to be replaced; returns what is kept now.

        Raises:
            StepFailure: it is too large, or no JSON.
        """
        try:
            text = orjson.dumps(value).decode()
        except (TypeError, ValueError) as error:
            raise StepFailure("validation_error", f"config.data is no JSON: {error}", retryable=False) from None
        if len(text) > MOST_BYTES:
            message = f"config.data is larger than {MOST_BYTES} bytes of JSON"
            raise StepFailure("validation_error", message, retryable=False)
        full = await self._engine.read(lambda connection: _count(connection, tenant_id)) >= MOST_ENTRIES
        now = self._engine.clock.now()
        row = {"tenant": tenant_id, "key": key, "value": text, "now": now, "until": now + int(ttl_seconds * SECOND)}

        def keep(tx: Transaction) -> Found:
            tx.execute(_SWEEP, {"now": now, "most": SWEPT})
            if full:
                tx.execute(_MAKE_ROOM, {"tenant": tenant_id, "key": key, "most": SWEPT})
            stored = tx.execute(_KEEP if replace else _KEEP_FIRST, row).rowcount == 1
            found = _load(tx.connection, tenant_id, key, now)
            assert found is not None  # noqa: S101  it is in this transaction
            return found._replace(stored=stored)

        return await self._engine.transact(keep)

    async def drop(self, tenant_id: str, key: str) -> bool:
        """Forget a value; whether there was one."""
        now = self._engine.clock.now()

        def forget(tx: Transaction) -> bool:
            c = results.c
            which = sa.and_(c.tenant_id == tenant_id, c.cache_key == key)
            there = _load(tx.connection, tenant_id, key, now) is not None
            tx.connection.execute(sa.delete(results).where(which))
            return there

        return await self._engine.transact(forget)


def _load(connection: sa.Connection, tenant_id: str, key: str, now: int) -> Found | None:
    c = results.c
    query = sa.select(c.value, c.created_at).where(c.tenant_id == tenant_id, c.cache_key == key, c.expires_at > now)
    row = connection.execute(query).first()
    return None if row is None else Found(orjson.loads(row[0]), max(0, now - row[1]) / SECOND)


def _count(connection: sa.Connection, tenant_id: str) -> int:
    some = sa.select(sa.literal(1)).where(results.c.tenant_id == tenant_id).limit(MOST_ENTRIES).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()
