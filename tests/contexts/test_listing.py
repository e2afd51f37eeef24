"""Lists: in the right order, each record once, and never by looking at a million rows."""

import itertools
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from windlass.bootstrap import Application
from windlass.contexts.records import listing
from windlass.contexts.records.listing import COUNT_BOUND, SORTS, Filter, ListQuery, Position
from windlass.contexts.records.model import Draft, Record
from windlass.contexts.records.tables import records
from windlass.engine.ports import Transaction

FILTERS = list(itertools.product([None, "pending", "failed"], [None, "c1"], [None, "s0"], [None, "span"]))


async def fill(running: Application, number: int) -> list[Record]:
    """Store records of few categories and sources, and give them statuses."""
    dice = random.Random(7)
    items = []
    for _ in range(number):
        record_id, created_at = running.records.stamp()
        draft = Draft(f"s{dice.randrange(2)}", f"c{dice.randrange(3)}", "{}")
        items.append((record_id, created_at, draft))
    await running.records.store(items, None, "null")
    for status in ("processed", "failed"):
        chosen = [item[0] for item in dice.sample(items, number // 3)]
        change = sa.update(records).where(records.c.id.in_(chosen)).values(status=status)
        await running.engine.transact(partial(_execute, change))
    await running.records.rebuild_counts()
    return [record async for page in running.records.export(Filter()) for record in page]


def _execute(statement: sa.Update, tx: Transaction) -> None:
    tx.connection.execute(statement)


def expected(everything: Sequence[Record], query: ListQuery) -> list[str]:
    """The ids a list should have, found the simple way."""
    wanted = query.filter
    chosen = [
        record
        for record in everything
        if (wanted.status is None or record.status == wanted.status)
        and (wanted.category is None or record.category == wanted.category)
        and (wanted.source is None or record.source == wanted.source)
        and (wanted.created_after is None or record.created_at >= wanted.created_after)
        and (wanted.created_before is None or record.created_at <= wanted.created_before)
    ]
    chosen.sort(key=lambda r: (getattr(r, query.sort_by), r.id), reverse=query.descending)
    return [record.id for record in chosen]


async def test_every_list_is_in_order_and_complete(running: Application) -> None:
    everything = await fill(running, 60)
    span = (everything[8].created_at, everything[-9].created_at)

    for (status, category, source, bounds), sort, descending in itertools.product(FILTERS, SORTS, [True, False]):
        after, before = span if bounds else (None, None)
        query = ListQuery(Filter(status, category, source, after, before), sort, descending, limit=7)
        whole = expected(everything, query)

        seen, resumed = [], query
        while True:
            page = await running.records.page(resumed)
            seen += [record.id for record in page.items]
            if page.next_cursor is None:
                break
            resumed = query.resume(page.next_cursor)
        jumped = await running.records.page(ListQuery(query.filter, sort, descending, limit=5, offset=3))

        assert seen == whole, query
        assert [record.id for record in jumped.items] == whole[3:8], query
        assert (jumped.total, jumped.exact) == (len(whole), True), query


def plan(connection: Any, statement: sa.Select[Any]) -> str:
    """How SQLite carries out a query."""
    text = statement.compile(connection, compile_kwargs={"literal_binds": True})
    return "\n".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}"))


QUERIES = [
    ListQuery(Filter(status, category, source, since), sort, descending, after=position)
    for status in (None, "failed")
    for category in (None, "c1")
    for source in (None, "s1")
    for since in (None, "2026-01-01T00:00:00Z")
    for sort in SORTS
    for descending in (True, False)
    for position in (None, Position("failed", "2026-02-01T00:00:00Z", "x"))
]


async def test_every_list_reads_an_index_in_order(migrated_sqlite_url: str) -> None:
    engine = sa.create_engine(migrated_sqlite_url)
    with engine.connect() as connection:
        for query in QUERIES:
            keys = listing._keys(query, narrow=False)
            found = plan(connection, sa.select(keys))

            searches = [line for line in found.splitlines() if "records" in line]
            assert searches, query
            assert all("USING COVERING INDEX" in line for line in searches), (query, found)
            assert "TEMP B-TREE" not in found, (query, found)
            if query.after is not None and query.sort_by == "created_at":
                assert all("(created_at,id)" in line for line in searches), (query, found)
    engine.dispose()


def looked_at(node: dict[str, Any]) -> int:
    """How many rows the scans of a plan of PostgreSQL went through."""
    here = 0
    if "Scan" in node["Node Type"] and "Relation Name" in node:
        here = int(node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        if node["Node Type"] == "Seq Scan":
            here = 1_000_000
    return here + sum(looked_at(child) for child in node.get("Plans", ()))


async def test_every_list_looks_at_few_rows_on_postgresql(migrated_pg_dsn: str) -> None:
    engine = sa.create_engine(migrated_pg_dsn.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO records (id, created_at, status, source, category, payload, updated_at)"
            " SELECT n::text, now() - n * interval '1 second', (ARRAY['pending','processed','failed'])[1 + n %% 3],"
            " 's' || n %% 5, 'c' || n %% 7, '{}', now() FROM generate_series(1, 20000) n"
        )
        connection.exec_driver_sql("ANALYZE records")
        for query in QUERIES:
            compiled = sa.select(listing._keys(query, narrow=False)).compile(connection)
            explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {compiled}"
            [found] = connection.exec_driver_sql(explain, dict(compiled.params)).scalar_one()

            assert looked_at(found["Plan"]) <= 3 * (query.limit + 1), (query, found)
    engine.dispose()


async def test_totals_are_exact_up_to_a_bound(running: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = await fill(running, 30)
    monkeypatch.setattr("windlass.contexts.records.service.COUNT_BOUND", 10)

    counted = await running.records.page(ListQuery(Filter(source="s0")))
    bounded = await running.records.page(ListQuery(Filter(created_after="2000-01-01T00:00:00.000000Z")))
    narrow = await running.records.page(ListQuery(Filter(created_after=everything[-5].created_at)))

    assert (counted.total, counted.exact) == (sum(record.source == "s0" for record in everything), True)
    assert (bounded.total, bounded.exact) == (10, False)
    assert (narrow.total, narrow.exact) == (5, True)
    assert COUNT_BOUND == 10_000
