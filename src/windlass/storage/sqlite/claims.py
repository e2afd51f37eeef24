"""Taking ready runs: best first over the queues that are open, no more than the queues' slots allow."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson

from windlass.engine.types import RESUMED, ClaimedRun
from windlass.storage import rows as shapes
from windlass.storage.waiting import WAITING_QUEUES

OVERALL = "*"
TOGETHER = 32
"""How many queues one statement merges; more are asked for one part after the other."""

_COLUMNS = ",".join(shapes.HEAD + shapes.CLAIMED)
_OF_KNOWN_NAMES = f"""SELECT {_COLUMNS} FROM workflow_runs WHERE holder IS NULL AND ready_at IS NOT NULL
 AND name IN (SELECT value FROM json_each(?1))"""
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
    merged = " UNION ALL ".join(f"{_OF_KNOWN_NAMES} AND queue = ?{3 + place}" for place in range(many))
    return f"""SELECT json_group_array(json_array({_COLUMNS})) FROM ({merged}
 ORDER BY priority, claim_rank, ready_at, run_id LIMIT ?2)"""


def claim(
    raw: sqlite3.Connection, holder: str, names: Sequence[str], queues: Sequence[str] | None, limit: int
) -> list[ClaimedRun]:
    """Take up to ``limit`` runs for a holder; see ``engine.ports.Transaction.claim_ready``.

    Runs of paused and full queues are not looked at, however many there are.
    """
    settings = _answer(raw, _SLOTS)
    limited = {queue for queue, _, most, _ in settings if most is not None}
    free = {queue: 0 if paused else max(most - held, 0) for queue, paused, most, held in settings}
    room = min(limit, free.pop(OVERALL, limit))
    waiting = [queue for queue in _answer(raw, _WAITING) if queues is None or queue in queues] if room else []
    taken: list[ClaimedRun] = []
    while len(taken) < room:
        found = _best(raw, names, [queue for queue in waiting if free.get(queue, 1)], room - len(taken))
        chosen = _fit(found, free)
        if chosen:
            raw.execute(_HOLD, (holder, _ids(chosen)))
            taken.extend(chosen)
        if len(chosen) == len(found):
            break
    for run in taken:
        run.head.holder, run.head.ready_at, run.head.claim_rank = holder, None, RESUMED
        for queue in limited.intersection((OVERALL, run.head.queue)):
            raw.execute(_TAKE_SLOT, {"run_id": run.head.run_id, "queue": queue})
    return taken


def _answer(raw: sqlite3.Connection, sql: str, params: Sequence[object] = ()) -> list[Any]:
    found: list[Any] = orjson.loads(raw.execute(sql, params).fetchone()[0])
    return found


def _ids(runs: Sequence[ClaimedRun]) -> str:
    return orjson.dumps([run.head.run_id for run in runs]).decode()


def _best(raw: sqlite3.Connection, names: Sequence[str], queues: Sequence[str], limit: int) -> list[ClaimedRun]:
    """Return the first ``limit`` runs of the queues."""
    known = orjson.dumps(names).decode()
    found: list[ClaimedRun] = []
    for at in range(0, len(queues), TOGETHER):
        part = queues[at : at + TOGETHER]
        found.extend(shapes.claimed_run(row) for row in _answer(raw, ready(len(part)), (known, limit, *part)))
    if len(queues) > TOGETHER:
        found.sort(key=_place)
    return found[:limit]


def _place(run: ClaimedRun) -> tuple[int, int, int | None, str]:
    return run.head.priority, run.head.claim_rank, run.head.ready_at, run.head.run_id


def _fit(found: Sequence[ClaimedRun], free: dict[str, int]) -> list[ClaimedRun]:
    """Keep the runs for which their queue still has a slot."""
    chosen = []
    for run in found:
        slots = free.get(run.head.queue)
        if slots is not None:
            if slots == 0:
                continue
            free[run.head.queue] = slots - 1
        chosen.append(run)
    return chosen
