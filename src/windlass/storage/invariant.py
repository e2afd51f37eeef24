"""Promise 10, as one query: every open run has a live lease or a named wake-up. And how a run that has none goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from windlass.engine.heads import append, to_json
from windlass.engine.ports import Ring, Transaction
from windlass.engine.types import RESUMED, NewEvent

HOLDER_DEAD = "holder_dead"
CHILD_ENDED = "child_ended"
SIGNAL_MISSED = "signal_missed"
NO_WAKE_UP = "no_wake_up"

MEANINGS = {
    HOLDER_DEAD: "its holder is dead",
    CHILD_ENDED: "it waits for a child that has ended or never was",
    SIGNAL_MISSED: "it waits for a signal or an update that has come",
    NO_WAKE_UP: "nobody holds it and nothing will wake it",
}


class Adrift(NamedTuple):
    """A run that breaks the invariant; ``finding`` is a key of ``MEANINGS``."""

    run_id: str
    name: str
    status: str
    wait_reason: str | None
    holder: str | None
    finding: str


# Which signals a run waits for that waits for several things, only its code knows: one that has come proves nothing.
_QUERY = """
SELECT run_id, name, status, wait_reason, holder, finding FROM (
    SELECT r.run_id, r.name, r.status, r.wait_reason, r.holder, r.created_at, CASE
        WHEN r.holder IS NOT NULL THEN CASE
            WHEN r.holder NOT IN :dead AND EXISTS (
                SELECT 1 FROM workflow_leases l WHERE l.holder = r.holder AND l.state = 'live') THEN NULL
            ELSE 'holder_dead' END
        WHEN r.ready_at IS NOT NULL OR r.wake_at IS NOT NULL THEN NULL
        WHEN r.status = 'paused' THEN NULL
        WHEN r.wait_reason LIKE 'child:%' THEN CASE
            WHEN EXISTS (
                SELECT 1 FROM workflow_runs c WHERE c.run_id = substr(r.wait_reason, 7)
                AND c.status NOT IN ('succeeded', 'failed', 'cancelled')) THEN NULL
            ELSE 'child_ended' END
        WHEN r.wait_reason LIKE 'signal:%' OR r.wait_reason LIKE 'update:%' THEN CASE
            WHEN EXISTS (
                SELECT 1 FROM workflow_inbox i WHERE i.run_id = r.run_id AND NOT i.consumed
                AND i.kind = substr(r.wait_reason, 1, 6) AND i.name = substr(r.wait_reason, 8)) THEN 'signal_missed'
            ELSE NULL END
        WHEN r.wait_reason LIKE '% things' THEN CASE
            WHEN EXISTS (
                SELECT 1 FROM workflow_runs c WHERE c.parent_run_id = r.run_id
                AND c.status NOT IN ('succeeded', 'failed', 'cancelled')) THEN NULL
            WHEN EXISTS (
                SELECT 1 FROM workflow_inbox i WHERE i.run_id = r.run_id AND NOT i.consumed AND i.kind = 'child')
                THEN 'child_ended'
            ELSE NULL END
        ELSE 'no_wake_up' END AS finding
    FROM workflow_runs r
    WHERE r.status IN ('queued', 'running', 'paused', 'waiting_human', 'waiting_approval'){which}
) AS judged WHERE finding IS NOT NULL ORDER BY created_at, run_id LIMIT :most"""


def adrift(
    connection: sa.Connection, dead: Sequence[str], *, run_ids: Sequence[str] | None = None, most: int = 1000
) -> list[Adrift]:
    """Return the runs that break the invariant, oldest first.

    Args:
        connection: where to ask.
        dead: holders known to be dead although their lease says live: on SQLite only a file lock tells.
        run_ids: look at these runs only.
        most: return no more than that.
    """
    query = sa.text(_QUERY.replace("{which}", "" if run_ids is None else " AND r.run_id IN :run_ids"))
    query = query.bindparams(sa.bindparam("dead", expanding=True, type_=sa.Text()))
    values: dict[str, object] = {"dead": list(dead), "most": most}
    if run_ids is not None:
        query = query.bindparams(sa.bindparam("run_ids", expanding=True, type_=sa.Text()))
        values["run_ids"] = list(run_ids)
    return [Adrift(*row) for row in connection.execute(query, values)]


def make_ready(tx: Transaction, run_ids: Sequence[str], now: int) -> int:
    """Queue runs again that nobody holds and nothing would wake; returns how many still were so.

    Their code is replayed, and waits for what it waits for under a name of its own.
    """
    heads = tx.lock_runs(sorted(run_ids))
    still = adrift(tx.connection, (), run_ids=list(heads), most=len(heads)) if heads else []
    ours = [heads[run.run_id] for run in still if run.finding != HOLDER_DEAD]
    for head in ours:
        head.ready_at, head.claim_rank, head.wait_reason = now, RESUMED, None
        append(tx, head, NewEvent("run_requeued", None, to_json({"reason": "adrift"}), now))
        tx.rings.append(Ring("ready", head.run_id))
    if ours:
        tx.write_heads(ours)
    return len(ours)
