"""Removing what is old: ended runs with all that is theirs, and the journals of ended runs. Promise 13.

Everything goes in batches of bounded size, so that writers never wait long, and a crash leaves whole runs, or runs
whose journal begins later (``history_from_seq`` says so). A run is old when it ended before a time; one is kept
whatever its age while it is open, while a run above it is, and while what follows its end (a webhook) is under way.
Idempotency keys outlive their runs: they go when their own time is up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.engine.types import TERMINAL
from windlass.storage.history import ASK, settle, whole_from
from windlass.storage.run_filters import Condition, kinds, of_kind, page
from windlass.storage.schema import workflow_events, workflow_runs, workflow_stream_items

PAGE = 500
ROWS = 2000
"""How many events a transaction deletes at most."""
GENERATIONS = 100
ENDED = tuple(sorted(status.value for status in TERMINAL))
_BEFORE, _AFTER = ".end", ".enf"
"""What follows a run is named after it: between these."""


class Old(NamedTuple):
    """An ended run past its time, and how many events it still has."""

    run_id: str
    parent_run_id: str | None
    first: int
    last: int
    created_at: str

    @property
    def events(self) -> int:
        """How many events are left."""
        return max(0, self.last - self.first + 1)


class Removed(NamedTuple):
    """What was removed, or would be: runs, events of these and others, and runs kept for the sake of an open one."""

    runs: int = 0
    events: int = 0
    kept: int = 0


def old_page(
    connection: sa.Connection, status: str, before: str, after: tuple[str, str] | None, *, whole: bool
) -> list[Old]:
    """Return ended runs that ended before a time, in the order of their creation.

    Args:
        connection: where to ask.
        status: one of ``ENDED``.
        before: ISO 8601.
        after: ``created_at`` and id of the last one seen.
        whole: also those that have no events any more.
    """
    c = workflow_runs.c
    columns = [c.run_id, c.parent_run_id, c.history_from_seq, c.last_seq, c.created_at]
    conditions: list[Condition] = [c.created_at < before, c.ended_at < before]
    if not whole:
        conditions.append(c.history_from_seq <= c.last_seq)
    if after is not None:
        last = sa.tuple_(sa.literal(after[0], c.created_at.type), after[1])
        conditions.append(sa.tuple_(c.created_at, c.run_id) > last)
    slices = [of_kind(*kind) for kind in kinds(connection, (status,))]
    query = page(columns, conditions, slices, PAGE, descending=False)
    found = [Old(*row) for row in connection.execute(query)]
    begins = whole_from(connection, {run.run_id: run.last for run in found if run.first == ASK})
    return [run._replace(first=begins.get(run.run_id, run.first)) for run in found]


def needed(connection: sa.Connection, runs: Sequence[Old]) -> set[str]:
    """Return the ids of those runs that an open run still needs: one above them, or what follows their end."""
    c = workflow_runs.c
    lines: dict[str, set[str]] = {}
    for run in runs:
        if run.parent_run_id is not None:
            lines.setdefault(run.parent_run_id, set()).add(run.run_id)
    found: set[str] = set()
    for _ in range(GENERATIONS):
        if not lines:
            break
        above: dict[str, set[str]] = {}
        rows = connection.execute(sa.select(c.run_id, c.parent_run_id, c.status).where(c.run_id.in_(sorted(lines))))
        for run_id, parent, status in rows:
            if status not in ENDED:
                found |= lines[run_id]
            elif parent is not None:
                above.setdefault(parent, set()).update(lines[run_id])
        lines = above
    else:
        found.update(*lines.values())
    return found | _followed(connection, runs)


def _followed(connection: sa.Connection, runs: Sequence[Old]) -> set[str]:
    c = workflow_runs.c
    after = sa.select(sa.literal(1)).where(c.run_id > sa.bindparam("low"), c.run_id < sa.bindparam("high"))
    query = after.where(c.status.not_in(ENDED)).limit(1)
    return {
        run.run_id
        for run in runs
        if connection.execute(query, {"low": run.run_id + _BEFORE, "high": run.run_id + _AFTER}).first() is not None
    }


class Trim(NamedTuple):
    """Events of a run, up to a number."""

    run_id: str
    upto: int


def trims(runs: Sequence[Old]) -> list[list[Trim]]:
    """Return what to delete of runs' events, a transaction each."""
    batches: list[list[Trim]] = []
    batch: list[Trim] = []
    room = ROWS
    for run in runs:
        at = run.first
        while at <= run.last:
            upto = min(run.last, at + room - 1)
            batch.append(Trim(run.run_id, upto))
            room -= upto - at + 1
            at = upto + 1
            if room == 0:
                batches.append(batch)
                batch, room = [], ROWS
    return [*batches, batch] if batch else batches


def trim_in(tx: Transaction, batch: Sequence[Trim]) -> int:
    """Delete events of runs that have ended; returns how many."""
    ended = _ended(tx, [trim.run_id for trim in batch])
    e = workflow_events.c
    removed = 0
    for trim in batch:
        if trim.run_id in ended:
            wanted = sa.delete(workflow_events).where(e.run_id == trim.run_id, e.event_seq <= trim.upto)
            removed += tx.connection.execute(wanted).rowcount
    settle(tx.connection, ended)
    return removed


def trim_items_in(tx: Transaction, run_ids: Sequence[str]) -> int:
    """Delete what runs that have ended wrote to streams, not more than a transaction should; returns how many."""
    i = workflow_stream_items.c
    key = (i.run_id, i.stream, i.item_offset)
    ended = _ended(tx, run_ids)
    some = sa.select(*key).where(i.run_id.in_(sorted(ended))).order_by(*key).limit(ROWS)
    return int(tx.connection.execute(sa.delete(workflow_stream_items).where(sa.tuple_(*key).in_(some))).rowcount)


def remove_in(tx: Transaction, run_ids: Sequence[str]) -> int:
    """Delete runs that have ended, with all that is theirs; returns how many."""
    ended = sorted(_ended(tx, run_ids))
    if not ended:
        return 0
    gone = tx.connection.execute(sa.delete(workflow_runs).where(workflow_runs.c.run_id.in_(ended)))
    return int(gone.rowcount)


def _ended(tx: Transaction, run_ids: Sequence[str]) -> set[str]:
    """Lock runs, and return those that have ended: nobody opens them again meanwhile."""
    heads = tx.lock_runs(sorted(set(run_ids)))
    return {run_id for run_id, head in heads.items() if head.status in ENDED}


class Retention:
    """Removes what is old from one database.

    Args:
        engine: reads and writes.
        dry: only count.
    """

    def __init__(self, engine: Engine, *, dry: bool) -> None:
        self._engine = engine
        self._dry = dry

    async def runs(self, before: str) -> Removed:
        """Remove runs that ended before a time."""
        return await self._through(before, whole=True)

    async def events(self, before: str) -> Removed:
        """Remove the journals of runs that ended before a time; the runs stay."""
        return await self._through(before, whole=False)

    async def _through(self, before: str, *, whole: bool) -> Removed:
        total = Removed()
        for status in ENDED:
            after: tuple[str, str] | None = None
            while True:
                page = await self._page(status, before, after, whole=whole)
                if not page:
                    break
                after = (str(page[-1].created_at), page[-1].run_id)
                kept = await self._needed(page)
                free = [run for run in page if run.run_id not in kept]
                runs, events = await self._remove(free, whole=whole)
                total = Removed(total.runs + runs, total.events + events, total.kept + len(kept))
        return total

    async def _page(self, status: str, before: str, after: tuple[str, str] | None, *, whole: bool) -> list[Old]:
        found: list[Old] = await self._engine.read(
            lambda connection: old_page(connection, status, before, after, whole=whole)
        )
        return found

    async def _needed(self, page: list[Old]) -> set[str]:
        found: set[str] = await self._engine.read(lambda connection: needed(connection, page))
        return found

    async def _remove(self, free: list[Old], *, whole: bool) -> tuple[int, int]:
        if self._dry:
            return (len(free) if whole else 0), sum(run.events for run in free)
        events = 0
        for batch in trims(free):
            events += await self._engine.transact(lambda tx, batch=batch: trim_in(tx, batch))  # type: ignore[misc]
        runs = 0
        if whole and free:
            ids = [run.run_id for run in free]
            while await self._engine.transact(lambda tx: trim_items_in(tx, ids)) >= ROWS:
                pass
            runs = await self._engine.transact(lambda tx: remove_in(tx, ids))
        return runs, events
