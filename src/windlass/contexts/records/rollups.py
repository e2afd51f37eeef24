"""Counts of records by status, category, source, day, failure and duration, kept without a row that many fight for.

Whoever changes records writes what that changes of the counts as rows of ``record_deltas``, in the same
transaction. Some process folds them into ``record_rollups`` later, a bounded number at a time; who reads adds both
up, so that the answer is exact at any moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from windlass.contexts.records.rows import is_postgres
from windlass.contexts.records.tables import record_deltas, record_rollups
from windlass.engine.ports import Transaction

COUNT, SOURCE, REASON, DURATION, ENDED = "count", "source", "reason", "duration", "ended"
"""Kinds: records; records by source, by reason of failure, by duration in milliseconds; records by the hour
(``2026-01-31T17``) in which they were processed."""
DAY, HOUR = "day", "hour"
"""Kinds that are ``COUNT`` by day and ``ENDED`` without the categories: for each period a row for each status."""

FOLD_ROWS = 1000
FOLD_LOCK = 7_229_180_643
COLUMNS = ("day", "status", "category", "source", "reason", "duration", "ended", "amount")


class Delta(NamedTuple):
    """``amount`` more (or fewer) records of this description; ``day`` is that of their creation."""

    day: str
    status: str
    category: str
    source: str
    reason: str | None
    duration: int | None
    ended: str | None
    amount: int


def rounded(milliseconds: int) -> int:
    """Round a duration down to two significant digits, the precision in which durations are kept and counted."""
    step = 1
    while milliseconds // step >= 100:
        step *= 10
    return milliseconds // step * step


def write(tx: Transaction, deltas: Sequence[Delta]) -> None:
    """Note changes of the counts in the transaction that makes them."""
    tx.insert_rows(record_deltas, COLUMNS, [tuple(delta) for delta in deltas])


KINDS = {
    COUNT: ("day", "''", "true"),
    SOURCE: ("day", "source", "true"),
    REASON: ("day", "reason", "reason IS NOT NULL"),
    DURATION: ("day", "CAST(duration AS TEXT)", "duration IS NOT NULL"),
    ENDED: ("ended", "''", "ended IS NOT NULL"),
    DAY: ("day", "''", "true"),
    HOUR: ("ended", "''", "ended IS NOT NULL"),
}
"""Of each kind: its period, its value, and which rows it counts."""
_DATED_ONLY = {ENDED, DAY, HOUR}


def _expanded(source: str, kind: str, dated: bool) -> str:
    """Return the counts of a kind that rows shaped like ``record_deltas`` amount to."""
    period, value, condition = KINDS[kind]
    period = period if dated else "''"
    category = "''" if kind in {DAY, HOUR} else "category"
    return (
        f"SELECT '{kind}' AS kind, {period} AS period, status, {category} AS category, {value} AS value, amount"  # noqa: S608
        f" FROM {source} WHERE {condition}"
    )


def _every(source: str) -> str:
    """Return the counts of every kind that rows shaped like ``record_deltas`` amount to."""
    kinds = [
        _expanded(source, kind, dated) for kind in KINDS for dated in (True, False) if dated or kind not in _DATED_ONLY
    ]
    return " UNION ALL ".join(kinds)


def _insert(source: str) -> str:
    return (
        "INSERT INTO record_rollups (kind, period, status, category, value, amount)"  # noqa: S608
        " SELECT kind, period, status, category, value, CAST(sum(amount) AS BIGINT) FROM"
        f" ({_every(source)}) e GROUP BY kind, period, status, category, value HAVING sum(amount) <> 0"
    )


_ADD = (
    " ON CONFLICT (kind, period, status, category, value)"
    " DO UPDATE SET amount = record_rollups.amount + excluded.amount"
)
_FOLD_POSTGRES = f"""WITH taken AS (DELETE FROM record_deltas WHERE id IN
 (SELECT id FROM record_deltas ORDER BY id LIMIT :most) RETURNING *), folded AS ({_insert("taken")}{_ADD} RETURNING 1)
 SELECT count(*) FROM taken"""  # noqa: S608
_FOLD_SQLITE = (
    _insert("(SELECT * FROM record_deltas WHERE id <= :top)") + _ADD,
    "DELETE FROM record_deltas WHERE id <= :top",
)
_TOP = "SELECT count(*), max(id) FROM (SELECT id FROM record_deltas ORDER BY id LIMIT :most)"


def fold(tx: Transaction, most: int = FOLD_ROWS) -> int:
    """Add the oldest deltas to the counts; returns how many. Leaves them alone while another process folds."""
    connection = tx.connection
    if is_postgres(connection):
        free = connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(FOLD_LOCK)))
        return int(connection.scalar(sa.text(_FOLD_POSTGRES), {"most": most})) if free else 0
    found, top = connection.execute(sa.text(_TOP), {"most": most}).one()
    if found:
        for statement in _FOLD_SQLITE:
            connection.execute(sa.text(statement), {"top": top})
    return int(found)


def waiting(connection: sa.Connection, most: int) -> int:
    """Return how many deltas wait to be folded, counting no further than ``most``."""
    some = sa.select(sa.literal(1)).select_from(record_deltas).limit(most).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()


def wrong(connection: sa.Connection) -> int:
    """Return how many counts are not what a look at every record gives: 0, unless somebody changed records by hand."""
    columns = "kind, period, status, category, value"
    said = f"SELECT {columns}, amount FROM record_rollups UNION ALL {_every('record_deltas')}"  # noqa: S608
    seen = _every(truth(is_postgres(connection)))
    both = f"SELECT {columns}, amount FROM ({said}) s UNION ALL SELECT {columns}, -amount FROM ({seen}) t"  # noqa: S608
    groups = f"SELECT 1 FROM ({both}) b GROUP BY {columns} HAVING sum(amount) <> 0"  # noqa: S608
    differing = f"SELECT count(*) FROM ({groups}) d"  # noqa: S608
    return int(connection.execute(sa.text(differing)).scalar_one())


def rebuild(tx: Transaction) -> None:
    """Count everything anew, for counts that somebody changed by hand; writers wait meanwhile."""
    connection = tx.connection
    if is_postgres(connection):
        connection.execute(sa.text("LOCK TABLE records, record_deltas IN SHARE ROW EXCLUSIVE MODE"))
    connection.execute(sa.delete(record_deltas))
    connection.execute(sa.delete(record_rollups))
    connection.execute(sa.text(_insert(truth(is_postgres(connection)))))


def truth(postgres: bool, condition: str = "true") -> str:
    """Return the records themselves, or some of them, as rows shaped like ``record_deltas``."""
    iso = "to_char(timezone('UTC', {}), 'YYYY-MM-DD\"T\"HH24')" if postgres else "{}"
    same = ' COLLATE "C"' if postgres else ""  # as the counts' own texts are compared
    day, hour = f"substr({iso}, 1, 10){same}".format("created_at"), f"substr({iso}, 1, 13){same}".format("processed_at")
    return (
        f"(SELECT {day} AS day, status, category, source, error{same} AS reason,"  # noqa: S608
        f" processing_ms AS duration, {hour} AS ended, 1 AS amount FROM records"
        f" WHERE {condition}) truth"
    )
