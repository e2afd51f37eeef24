"""What else can be wrong with runs besides promise 10: seats of nobody, children left behind, journals with gaps.

Nothing of it comes about by itself: a database was restored in parts, or changed by hand. Each is found by a query that
names the runs, and mended in a transaction that looks again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from windlass.engine.ending import cancel, cancel_children
from windlass.engine.ports import Ring, Transaction
from windlass.engine.types import TERMINAL, RunHead
from windlass.storage.history import ASK, settle
from windlass.storage.schema import timestamp

GAP = "journal_gap"
_OPEN = "r.status IN ('queued', 'running', 'paused', 'waiting_human', 'waiting_approval')"
_ENDED = "r.status IN ('succeeded', 'failed', 'cancelled')"
_HELD = "EXISTS (SELECT 1 FROM workflow_runs r WHERE r.run_id = s.run_id AND r.holder IS NOT NULL)"
_IDS = sa.bindparam("ids", expanding=True, type_=sa.Text())
_FREE_SLOTS = sa.text("UPDATE workflow_queue_slots SET run_id = NULL WHERE run_id IN :ids").bindparams(_IDS)
_FREE_SEATS = sa.text("DELETE FROM workflow_seats WHERE run_id IN :ids").bindparams(_IDS)
_DOUBT = sa.text(f"UPDATE workflow_runs SET history_from_seq = {ASK} WHERE run_id IN :ids").bindparams(_IDS)
_SEATS = f"""SELECT DISTINCT run_id FROM (
 SELECT s.run_id FROM workflow_seats s WHERE NOT {_HELD}
 UNION ALL SELECT s.run_id FROM workflow_queue_slots s WHERE s.run_id IS NOT NULL AND NOT {_HELD}
) AS stray ORDER BY run_id LIMIT :most"""
_ORPHANS = f"""SELECT r.run_id, p.run_id AS parent FROM workflow_runs r
 JOIN workflow_runs p ON p.run_id = r.parent_run_id AND p.status IN ('succeeded', 'failed', 'cancelled')
 WHERE {_OPEN} AND r.holder IS NULL AND p.ended_at < :before
 ORDER BY r.run_id LIMIT :most"""
_MISSING = (
    "r.last_seq - {0} + 1 - (SELECT count(*) FROM workflow_events e WHERE e.run_id = r.run_id AND e.event_seq >= {0})"
)
_GAPS = """SELECT run_id, name, missing, is_open FROM (
 SELECT r.run_id, r.name, {open} AS is_open, CASE WHEN {open} THEN {whole} ELSE {rest} END AS missing
 FROM workflow_runs r WHERE {which}
) AS counted WHERE missing <> 0 ORDER BY run_id LIMIT :most""".format(
    open=_OPEN, whole=_MISSING.format("1"), rest=_MISSING.format("r.history_from_seq"),
    which=f"({_OPEN} AND r.holder IS NULL) OR ({_ENDED} AND r.history_from_seq <> {ASK})",
)  # fmt: skip


class Gap(NamedTuple):
    """A run whose journal lacks ``missing`` events; one that is ``is_open`` would do again what they recorded."""

    run_id: str
    name: str
    missing: int
    is_open: bool


def stray_seats(connection: sa.Connection, most: int = 1000) -> list[str]:
    """Return ids of runs that nobody holds and that have a slot of a queue or a seat of a limit all the same."""
    return [*connection.execute(sa.text(_SEATS), {"most": most}).scalars()]


def free_seats(tx: Transaction, run_ids: Sequence[str]) -> int:
    """Give back what runs have that nobody holds by now, or that are gone; returns how many runs that were."""
    heads = tx.lock_runs(sorted(run_ids))
    free = [run_id for run_id in run_ids if run_id not in heads or heads[run_id].holder is None]
    if free:
        for statement in (_FREE_SLOTS, _FREE_SEATS):
            tx.connection.execute(statement, {"ids": free})
        tx.rings.append(Ring("ready", ""))
    return len(free)


def orphans(connection: sa.Connection, before: str, most: int = 1000) -> dict[str, str]:
    """Return open runs whose parent ended before a time (ISO 8601), with that parent: nobody has cancelled them."""
    query = sa.text(_ORPHANS).bindparams(sa.bindparam("before", type_=timestamp()))
    return {row.run_id: row.parent for row in connection.execute(query, {"before": before, "most": most})}


def cancel_orphans(tx: Transaction, parents: Sequence[str], at: int) -> int:
    """Cancel what is left below ended runs; returns below how many it was. What remains comes with the next call."""
    heads = tx.lock_runs(sorted({*parents}))
    ended = [run_id for run_id, head in heads.items() if head.status in TERMINAL]
    cancel_children(tx, ended, at)
    return len(ended)


def gaps(connection: sa.Connection, most: int = 1000) -> list[Gap]:
    """Return runs that lack events: of open ones that nobody holds any, of ended ones some that their rows count on."""
    return [
        Gap(row.run_id, row.name, row.missing, bool(row.is_open))
        for row in connection.execute(sa.text(_GAPS), {"most": most})
    ]


def close_gaps(tx: Transaction, found: Sequence[Gap], at: int) -> tuple[int, int]:
    """Let nothing be built on events that are gone.

    An open run would do again what they recorded, so it is cancelled, and a person decides; of an ended one the row
    says from where on its history is whole, so that it is neither retried nor forked from what is gone.

    Returns:
        how many runs were cancelled, and how many rows were corrected.
    """
    heads = tx.lock_runs(sorted(gap.run_id for gap in found))
    lost = [heads[gap.run_id] for gap in found if gap.is_open and _is_idle(heads.get(gap.run_id))]
    if lost:
        cancel(tx, lost, "doctor", GAP, at)
    ended = [gap.run_id for gap in found if not gap.is_open]
    cut = [*ended, *(head.run_id for head in lost)]
    if cut:
        tx.connection.execute(_DOUBT, {"ids": cut})
        settle(tx.connection, cut)
    return len(lost), len(ended)


def _is_idle(head: RunHead | None) -> bool:
    return head is not None and head.holder is None and head.status not in TERMINAL
