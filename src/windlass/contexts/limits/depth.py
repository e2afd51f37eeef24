"""How many runs of definitions wait for a place: looked at about once a second, however many ask.

Between two looks a process adds what it starts itself, and looks again when that makes the queue full: some of it may
have begun. So a limit is overstepped by no more than what other processes start in about a second; a count never goes
further than its limit, and takes at most a twentieth of the time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import sqlalchemy as sa

from windlass.contexts.limits.counting import Values, overrides_of, resolved
from windlass.contexts.limits.model import EVERYBODY, Limit, QueueFull, Subject
from windlass.engine.engine import Engine
from windlass.storage.schema import workflow_runs

_WAITING = sa.text("holder IS NULL AND ready_at IS NOT NULL AND name = 'workflows.run'")
"""Word for word as the index has it, or SQLite does not see that it fits."""
FRESH_SECONDS = 1.0
SHARE = 20
"""A count is good for so many times as long as it took."""
MOST_KEPT = 10_000


@dataclass(slots=True)
class _Known:
    """What was counted and added since. Good until a time, or from ``early`` on until what was added makes it full."""

    counted: int
    allowed: int | None
    early: float
    until: float
    added: int = 0

    @property
    def depth(self) -> int:
        return self.counted + self.added

    def is_stale(self, now: float) -> bool:
        full = self.added > 0 and self.allowed is not None and self.depth >= self.allowed
        return self.until <= now or (full and self.early <= now)


class Depth:
    """What this process knows of the queue.

    Args:
        engine: its database.
        settings: the limits where there is no override.
    """

    def __init__(self, engine: Engine, settings: Values) -> None:
        self._engine = engine
        self._settings = settings
        self._monotonic = engine.clock.monotonic
        self._known: dict[str, _Known] = {}
        self._looking: dict[str, asyncio.Future[None]] = {}

    async def look(self, tenant_id: str) -> None:
        """Count where what is known of a tenant, or of all together, is too old: once for all who ask meanwhile."""
        stale = self._stale(tenant_id)
        if not stale:
            return
        self._put_off(stale)
        looking = self._looking.get(tenant_id)
        if looking is None:
            looking = asyncio.ensure_future(self._engine.read(lambda connection: self._count(connection, stale)))
            self._looking[tenant_id] = looking
            looking.add_done_callback(lambda _: self._looking.pop(tenant_id))
        await asyncio.shield(looking)

    def look_in(self, connection: sa.Connection, tenant_id: str) -> None:
        """See ``look``, on the connection of a transaction."""
        self._count(connection, self._stale(tenant_id))

    def full(self, tenant_id: str, more: int) -> QueueFull | None:
        """Return why no run may be added to those that wait and ``more`` of the same batch, or None."""
        for one, limit in ((tenant_id, Limit.DEPTH), (EVERYBODY, Limit.DEPTH_ALL)):
            known = self._known.get(one)
            if known is not None and known.allowed is not None and known.depth + more >= known.allowed:
                return QueueFull(limit, known.allowed, known.depth + more)
        return None

    def add(self, tenant_id: str) -> None:
        """Note a run that waits since now."""
        for one in (tenant_id, EVERYBODY):
            known = self._known.get(one)
            if known is not None:
                known.added += 1

    def forget(self) -> None:
        """Look anew next time: a limit was changed."""
        self._known.clear()

    def _stale(self, tenant_id: str) -> list[str]:
        now = self._monotonic()
        known = [(one, self._known.get(one)) for one in (tenant_id, EVERYBODY)]
        return [one for one, kept in known if kept is None or kept.is_stale(now)]

    def _put_off(self, stale: list[str]) -> None:
        """Let others go on with what is known while it is counted anew."""
        until = self._monotonic() + FRESH_SECONDS
        for one in stale:
            kept = self._known.get(one)
            if kept is not None:
                kept.early = kept.until = until

    def _count(self, connection: sa.Connection, stale: list[str]) -> None:
        for one in stale:
            begun = self._monotonic()
            allowed = self._allowed(connection, one)
            count = 0 if allowed is None else waiting(connection, None if one == EVERYBODY else one, allowed)
            now = self._monotonic()
            if len(self._known) >= MOST_KEPT:
                self._known.clear()
            early = now + SHARE * (now - begun)
            self._known[one] = _Known(count, allowed, early, max(now + FRESH_SECONDS, early))

    def _allowed(self, connection: sa.Connection, one: str) -> int | None:
        rows = overrides_of(connection, Subject(one, EVERYBODY))
        return resolved(rows, self._settings)[Limit.DEPTH_ALL if one == EVERYBODY else Limit.DEPTH][0]


def waiting(connection: sa.Connection, tenant_id: str | None, most: int) -> int:
    """Return how many runs wait for a place, of a tenant or of all, counting no further than ``most``."""
    return int(connection.execute(counted(tenant_id, most)).scalar_one())


def counted(tenant_id: str | None, most: int) -> sa.Select[int]:
    """Return the question of ``waiting``."""
    ready = sa.select(sa.literal(1).label("one")).select_from(workflow_runs).where(_WAITING)
    if tenant_id is not None:
        ready = ready.where(workflow_runs.c.tenant_id == tenant_id)
    return sa.select(sa.func.count()).select_from(ready.limit(most).subquery())
