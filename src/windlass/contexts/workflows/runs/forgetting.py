"""Removing definitions that runs were started with and that none needs any more.

Three things need one: a run that was started with it; a run that has found out what a ``workflow_call`` of it is to
run and has not started that yet (its journal holds the digest); and a run that is being started right now. The first
two are looked for. For the third: whoever starts a run makes sure that the stored definition was used within a day
(see ``Snapshots.keep``), and none that was used within a week goes, which leaves six days for the start itself, and for
clocks that differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import orjson
import sqlalchemy as sa

from windlass.contexts.workflows.runs.snapshots import DAY
from windlass.contexts.workflows.runs.tables import snapshots
from windlass.contexts.workflows.runs.tasks import RUN
from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.engine.types import Status
from windlass.kernel.clock import to_iso
from windlass.storage.queries import iso, text
from windlass.storage.run_filters import STATUSES, Condition, of_kind, page
from windlass.storage.schema import workflow_events, workflow_runs

SPARED = 7 * DAY
"""How long, in microseconds, one that was used stays whatever else is said."""
PAGE = 200
SETTLED = frozenset({Status.SUCCEEDED, Status.CANCELLED})
"""Those nobody opens again: their journals need nothing."""

After = tuple[str, str]
"""When the last run of a page was created, and its id."""


class SnapshotRetention:
    """Removes stored definitions from one database.

    Args:
        engine: reads and writes.
        dry: only count.
    """

    def __init__(self, engine: Engine, *, dry: bool) -> None:
        self._engine = engine
        self._dry = dry

    async def remove(self, before: int) -> int:
        """Remove what was last used before a time in microseconds and is not needed; returns how many.

        Runs of any age may need one, but none that was created a week after it was last used: those are not looked at.
        """
        before = min(before, self._engine.clock.now() - SPARED)
        removed, after = 0, ""
        page = await self._unused(before, after)
        if not page:
            return 0
        needed = await self._needed(to_iso(before + SPARED))
        while page:
            free = [digest for digest in page if digest not in needed]
            removed += await self._remove(free, before)
            page = await self._unused(before, page[-1])
        return removed

    async def _unused(self, before: int, after: str) -> list[str]:
        c = snapshots.c
        query = sa.select(c.digest).where(c.digest > after, c.last_used < before).order_by(c.digest).limit(PAGE)
        return await self._engine.read(lambda connection: [*connection.execute(query).scalars()])

    async def _needed(self, until: str) -> set[str]:
        needed: set[str] = set()
        after: After | None = None
        while True:
            found, after = await self._engine.read(partial(needed_page, until=until, after=after))
            needed |= found
            if after is None:
                return needed

    async def _remove(self, free: list[str], before: int) -> int:
        if self._dry or not free:
            return len(free)
        return await self._engine.transact(lambda tx: remove_in(tx, free, before))


def needed_page(connection: sa.Connection, until: str, after: After | None) -> tuple[set[str], After | None]:
    """Return the digests that a page of runs needs, and where the next page begins; None after the last one.

    The order is that of creation over all statuses, so that a run whose status changes meanwhile is not missed.
    """
    c = workflow_runs.c
    conditions: list[Condition] = [c.created_at < until]
    if after is not None:
        last = sa.tuple_(sa.literal(after[0], c.created_at.type), sa.literal(after[1], c.run_id.type))
        conditions.append(sa.tuple_(c.created_at, c.run_id) > last)
    slices = [of_kind(status, RUN) for status in STATUSES]
    query = page([c.run_id, c.created_at, c.status, c.inputs_json], conditions, slices, PAGE, descending=False)
    rows = connection.execute(query).all()
    found = {digest for row in rows if (digest := _digest(text(row[3]))) is not None}
    found |= _found_out(connection, [row[0] for row in rows if row[2] not in SETTLED])
    return found, (iso(rows[-1][1]) or "", rows[-1][0]) if len(rows) == PAGE else None


def _found_out(connection: sa.Connection, run_ids: Sequence[str]) -> set[str]:
    """Return the digests that the journals of runs hold: of what they call, or are about to call."""
    c = workflow_events.c
    query = sa.select(c.payload_json).where(
        c.run_id.in_(run_ids), c.event_type == "step_completed", c.step_id.like("%/resolve#%")
    )
    payloads = [text(payload) for payload in connection.execute(query).scalars()] if run_ids else []
    outputs = [orjson.loads(payload).get("output") for payload in payloads if payload is not None]
    return {output["digest"] for output in outputs if isinstance(output, dict) and "digest" in output}


def _digest(inputs: str | None) -> str | None:
    found = orjson.loads(inputs or "null")
    digest = found.get("digest") if isinstance(found, dict) else None
    return digest if isinstance(digest, str) else None


def remove_in(tx: Transaction, digests: Sequence[str], before: int) -> int:
    """Delete stored definitions that are still unused; one that is just being used is passed over."""
    c = snapshots.c
    unused = sa.select(c.digest).where(c.digest.in_(digests), c.last_used < before).with_for_update(skip_locked=True)
    return int(tx.connection.execute(sa.delete(snapshots).where(c.digest.in_(unused))).rowcount)
