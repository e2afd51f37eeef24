"""Summaries are what a look at every record gives, of however many days, and read no more of the counts for them."""

import random
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import Any

import sqlalchemy as sa

from windlass.bootstrap import Application
from windlass.contexts.records import reports, rollups
from windlass.contexts.records.api import REPORTS, ReportFilter, read_filter, wrong_counts
from windlass.contexts.records.creation import COLUMNS
from windlass.contexts.records.rollups import Delta
from windlass.contexts.records.tables import record_rollups, records
from windlass.engine.ports import Transaction
from windlass.kernel.clock import to_iso

FIRST = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 130
SETTLE = """UPDATE records SET status = :status, error = :reason, processing_ms = :duration, processed_at = :processed
 WHERE id = :id"""


@dataclass
class Seen:
    """A record as whoever counts records one by one sees it."""

    id: str
    created: str
    category: str
    source: str
    status: str = "pending"
    reason: str | None = None
    duration: int | None = None
    processed: str | None = None

    def delta(self, amount: int) -> Delta:
        hour = self.processed and self.processed[:13]
        return Delta(
            self.created[:10], self.status, self.category, self.source, self.reason, self.duration, hour, amount
        )


def moment(dice: random.Random) -> str:
    return to_iso(int((FIRST + timedelta(minutes=dice.randrange(DAYS * 1440))).timestamp() * 1_000_000))


def settle(tx: Transaction, record: Seen, dice: random.Random) -> None:
    """Process a pending record, or make a failed one pending; note what that changes of the counts."""
    before = record.delta(-1)
    if record.status == "failed":
        record.status, record.reason, record.duration, record.processed = "pending", None, None, None
    else:
        record.status = dice.choice(["processed", "failed"])
        record.reason = f"é{dice.randrange(150)}" if record.status == "failed" else None
        record.duration, record.processed = rollups.rounded(dice.randrange(3000)), moment(dice)
    values = {name: getattr(record, name) for name in ("id", "status", "reason", "duration", "processed")}
    tx.execute(SETTLE, values)
    rollups.write(tx, [before, record.delta(1)])


def live(tx: Transaction, seen: list[Seen], dice: random.Random) -> None:
    """Take records in, change some, and fold some deltas; once a change is folded before what it changes."""
    made = [
        Seen(f"{len(seen) + n:036}", moment(dice), f"c{dice.randrange(3)}", f"s{dice.randrange(160)}")
        for n in range(60)
    ]
    rows = [(r.id, r.created, "pending", r.source, r.category, "{}", r.created) for r in made]
    tx.insert_rows(records, COLUMNS, rows)
    late = [record.delta(1) for record in made[:3]]
    rollups.write(tx, [record.delta(1) for record in made[3:]])
    for record in dice.sample([record for record in seen if record.status != "processed"], len(seen) // 4):
        settle(tx, record, dice)
    while rollups.fold(tx):
        pass
    for record in made[:3]:
        settle(tx, record, dice)
    rollups.fold(tx)
    rollups.write(tx, late)
    seen += made


def ranked(name: str, counts: Counter[Any]) -> list[dict[str, Any]]:
    return [{name: key, "count": count} for key, count in sorted(counts.items(), key=lambda i: (-i[1], i[0]))]


def periods(name: str, chosen: list[tuple[str, str]], statuses: list[str]) -> list[dict[str, Any]]:
    numbers = Counter(chosen)
    return [
        {name: period, "count": sum(numbers[period, s] for s in statuses), **{s: numbers[period, s] for s in statuses}}
        for period in sorted({period for period, _ in chosen})
    ]


def one_by_one(seen: list[Seen], wanted: ReportFilter) -> dict[str, Any]:
    """The whole reports of a filter."""
    like = [r for r in seen if wanted.status in {None, r.status} and wanted.category in {None, r.category}]
    start, end = wanted.start or "", wanted.end or "~"
    found = [r for r in like if start <= r.created <= end]
    ended = [r for r in like if r.processed is not None and start[:13] <= r.processed[:13] <= end[:13]]
    durations = sorted(r.duration for r in found if r.duration is not None)
    ranks = {f"p{p}": durations[-(-len(durations) * p // 100) - 1] if durations else None for p in (50, 90, 95, 99)}
    statuses = ["pending", "processed", "failed"]
    return {
        "totals": {"all": len(found), **{s: sum(r.status == s for r in found) for s in statuses}},
        "by_category": ranked("category", Counter(r.category for r in found)),
        "by_source": ranked("source", Counter(r.source for r in found)),
        "by_day": periods("day", [(r.created[:10], r.status) for r in found], statuses),
        "failure_reasons": ranked("reason", Counter(r.reason for r in found if r.reason is not None)),
        "processing_ms": {"count": len(durations), **ranks, "max": durations[-1] if durations else None},
        "throughput": periods("hour", [(str(r.processed)[:13], r.status) for r in ended], statuses[1:]),
    }


def shortened(whole: dict[str, Any]) -> dict[str, Any]:
    cut = {"by_source": slice(100), "failure_reasons": slice(100), "by_day": slice(-90, None)}
    return whole | {name: whole[name][which] for name, which in (cut | {"throughput": slice(-24, None)}).items()}


async def test_a_summary_is_what_a_look_at_every_record_gives(running: Application) -> None:
    dice = random.Random(11)
    seen: list[Seen] = []
    edges = [(None, None), ("2025-02-01", None), (None, "2025-03-31"), ("2025-02-10", "2025-02-10")]
    edges += [(a, b) for a, b in [sorted((moment(dice), moment(dice))) for _ in range(4)]]
    edges += [("2025-02-10T06:00:00Z", "2025-02-10T18:00:00Z"), (None, moment(dice)), (moment(dice), None)]
    filters = [
        read_filter(status, category, first, last)
        for status, category, (first, last) in product([None, "pending", "failed"], [None, "c1"], edges)
    ]
    for _ in range(8):
        await running.engine.transact(lambda tx: live(tx, seen, dice))

    found = {wanted: await running.records.summary(wanted) for wanted in filters}
    whole = {name: await running.records.report(name, filters[0]) for name in REPORTS}

    assert await running.engine.read(wrong_counts) == 0
    for wanted in filters:
        assert found[wanted] == shortened(one_by_one(seen, wanted)), wanted
    truth = one_by_one(seen, filters[0])
    assert len(truth["by_day"]) > 90
    assert len(truth["by_source"]) > 100
    assert len(truth["throughput"]) > 24
    assert {name: rows if isinstance(rows, list) else [rows] for name, rows in truth.items()} == {
        name: rows for name, rows in whole.items() if name != "by_status"
    }


def grow(tx: Transaction, days: int) -> None:
    """Leave the counts that so many days leave, each hour of which records of three categories were processed."""
    rows = []
    for day in ((date(2020, 1, 1) + timedelta(days=number)).isoformat() for number in range(days)):
        rows += [
            ("day", day, status, "", "", 72 if status == "processed" else 0) for status in ("processed", "pending")
        ]
        rows += [("hour", f"{day}T{hour:02}", "processed", "", "", 3) for hour in range(24)]
        for category in ("a", "b", "c"):
            rows.append(("count", day, "processed", category, "", 24))
            rows.append(("count", day, "pending", category, "", 0))
            rows += [("ended", f"{day}T{hour:02}", "processed", category, "", 1) for hour in range(24)]
    tx.connection.execute(sa.delete(record_rollups))
    tx.insert_rows(record_rollups, tuple(column.name for column in record_rollups.c), rows)
    day = (date(2020, 1, 1) + timedelta(days=days - 1)).isoformat()
    tx.connection.execute(sa.text("DELETE FROM record_deltas"))
    rollups.write(tx, [Delta(day, "processed", "a", "s", None, 7, f"{day}T23", 1)])


async def test_a_summary_is_one_statement_and_reads_no_more_of_the_counts_for_more_days(running: Application) -> None:
    statements: list[str] = []
    read: list[float] = []

    def explained(asked: sa.Connection, cursor: Any, sql: str, values: Any, _x: Any, _many: bool) -> None:
        statements.append(sql)
        if asked.dialect.name == "postgresql":
            plan = "\n".join(row[0] for row in cursor.execute(f"EXPLAIN (ANALYZE) {sql}", values).fetchall())
            looked_at = re.findall(r" on record_rollups.* rows=([\d.]+) loops=(\d+)", plan)
            ignored = re.findall(r"Rows Removed by Filter: (\d+)", plan)
            read.append(sum(float(rows) * int(loops) for rows, loops in looked_at) + sum(map(int, ignored)))

    def counted_steps(connection: sa.Connection) -> dict[str, Any]:
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        raw: Any = connection.connection.driver_connection
        raw.set_progress_handler(count, 100)
        try:
            return look(connection)
        finally:
            raw.set_progress_handler(None, 0)
            read.append(steps)

    def look(connection: sa.Connection) -> dict[str, Any]:
        sa.event.listen(connection, "before_cursor_execute", explained)
        return reports.summary(connection, read_filter(None, None, None, None))

    async def after(days: int) -> dict[str, Any]:
        await running.engine.transact(lambda tx: grow(tx, days))
        lite = running.engine.backend.name == "sqlite"
        if not lite:
            await running.engine.transact(lambda tx: tx.connection.execute(sa.text("ANALYZE record_rollups")))
        return await running.engine.read(counted_steps if lite else look)

    fewer, more = await after(280), await after(560)

    assert [len(found["by_day"]) for found in (fewer, more)] == [90, 90]
    assert [len(found["throughput"]) for found in (fewer, more)] == [24, 24]
    assert more["throughput"][-1] == {"hour": "2021-07-13T23", "count": 4, "processed": 4, "failed": 0}
    assert len(statements) == 2
    assert 0 < read[1] < 1.2 * read[0]
