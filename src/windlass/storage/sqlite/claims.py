"""Taking ready runs: best first over the queues that are open, no more than the queues' slots allow."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson

from windlass.engine.types import RESUMED, ClaimedRun
from windlass.kernel.checks import MOST_PLACES
from windlass.storage import rows as shapes
from windlass.storage.schema import CODE
from windlass.storage.waiting import READY, WAITING_QUEUES

OVERALL = "*"
TOGETHER = 32
"""How many queues one statement merges; more are asked for one part after the other."""

_COLUMNS = ",".join(shapes.HEAD + shapes.CLAIMED)
_OF_KNOWN_CODES = (
    f"""SELECT {_COLUMNS} FROM workflow_runs WHERE {READY} AND {CODE} IN (SELECT value FROM json_each(?1))"""
)
_WAITING = f"SELECT json_group_array(queue) FROM ({WAITING_QUEUES})"
_SLOTS = """SELECT json_group_array(json_array(q.queue, q.paused, q.concurrency_limit,
 (SELECT count(*) FROM workflow_queue_slots s WHERE s.queue = q.queue AND s.run_id IS NOT NULL)))
 FROM workflow_queues q WHERE q.paused OR q.concurrency_limit IS NOT NULL"""
_HOLD = f"""UPDATE workflow_runs SET holder = ?, ready_at = NULL, claim_rank = {RESUMED}
 WHERE run_id IN (SELECT value FROM json_each(?))"""
_TAKE_SLOT = """UPDATE workflow_queue_slots SET run_id = :run_id WHERE queue = :queue AND slot =
 (SELECT min(slot) FROM workflow_queue_slots WHERE queue = :queue AND run_id IS NULL)"""


@lru_cache(maxsize=TOGETHER)
def ready(many: int) -> str:
    """Return the statement that merges so many queues; it reads no more of each than it needs."""
    merged = " UNION ALL ".join(f"{_OF_KNOWN_CODES} AND queue = ?{3 + place}" for place in range(many))
    return f"""SELECT json_group_array(json_array({_COLUMNS})) FROM ({merged}
 ORDER BY priority, claim_rank, ready_at, run_id LIMIT ?2)"""


class Limits:
    """Which queues are closed, and how many more runs the limited ones take."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        settings = answer(raw, _SLOTS)
        self.limited = {queue for queue, _, most, _ in settings if most is not None}
        self.free = {queue: 0 if paused else max(most - held, 0) for queue, paused, most, held in settings}
        self.room = self.free.pop(OVERALL, MOST_PLACES)

    @property
    def closed(self) -> set[str]:
        """Return the queues that take none; ``*`` stands for all."""
        return {queue for queue, free in self.free.items() if not free} | (set() if self.room else {OVERALL})

    def fit(self, found: Sequence[ClaimedRun]) -> list[ClaimedRun]:
        """Keep the runs for which their queue still has a slot."""
        chosen = []
        for run in found:
            slots = self.free.get(run.head.queue)
            if slots is not None:
                if slots == 0:
                    continue
                self.free[run.head.queue] = slots - 1
            chosen.append(run)
        return chosen


def claim(
    raw: sqlite3.Connection, holder: str, codes: Sequence[str], queues: Sequence[str] | None, limit: int
) -> list[ClaimedRun]:
    """Take up to ``limit`` runs for a holder; see ``engine.ports.Transaction.claim_ready``.

    Runs of paused and full queues are not looked at, however many there are.
    """
    limits = Limits(raw)
    room = min(limit, limits.room)
    waiting = [queue for queue in answer(raw, _WAITING) if queues is None or queue in queues] if room else []
    taken: list[ClaimedRun] = []
    while len(taken) < room:
        found = _best(raw, codes, [queue for queue in waiting if limits.free.get(queue, 1)], room - len(taken))
        chosen = limits.fit(found)
        if chosen:
            hold(raw, holder, chosen, limits.limited)
            taken.extend(chosen)
        if len(chosen) == len(found):
            break
    return taken


def hold(raw: sqlite3.Connection, holder: str, runs: Sequence[ClaimedRun], limited: set[str]) -> None:
    """Give runs to a holder, each with a slot of its queue and of all queues where these are limited."""
    raw.execute(_HOLD, (holder, orjson.dumps([run.head.run_id for run in runs]).decode()))
    for run in runs:
        run.head.holder, run.head.ready_at, run.head.claim_rank = holder, None, RESUMED
        for queue in limited.intersection((OVERALL, run.head.queue)):
            raw.execute(_TAKE_SLOT, {"run_id": run.head.run_id, "queue": queue})


def answer(raw: sqlite3.Connection, sql: str, params: Sequence[object] = ()) -> list[Any]:
    """Return the JSON array that a statement answers with."""
    found: list[Any] = orjson.loads(raw.execute(sql, params).fetchone()[0])
    return found


def _best(raw: sqlite3.Connection, codes: Sequence[str], queues: Sequence[str], limit: int) -> list[ClaimedRun]:
    """Return the first ``limit`` runs of the queues."""
    known = orjson.dumps(codes).decode()
    found: list[ClaimedRun] = []
    for at in range(0, len(queues), TOGETHER):
        part = queues[at : at + TOGETHER]
        found.extend(shapes.claimed_run(row) for row in answer(raw, ready(len(part)), (known, limit, *part)))
    if len(queues) > TOGETHER:
        found.sort(key=_place)
    return found[:limit]


def _place(run: ClaimedRun) -> tuple[int, int, int | None, str]:
    return run.head.priority, run.head.claim_rank, run.head.ready_at, run.head.run_id
