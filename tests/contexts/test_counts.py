"""The counts kept with records equal a full recount, whatever happens to the records."""

import asyncio
import random
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.waiting import wait_until_async
from windlass.bootstrap import Application
from windlass.contexts.records import rollups
from windlass.contexts.records.api import Filter, Import, read_filter, wrong_counts
from windlass.contexts.records.rollups import rounded
from windlass.contexts.records.tables import record_deltas, record_rollups
from windlass.kernel.errors import Conflict


def kept(connection: Any) -> set[tuple[Any, ...]]:
    """The counts that are not zero."""
    return {tuple(row) for row in connection.execute(sa.select(*record_rollups.c).where(record_rollups.c.amount != 0))}


async def random_life(running: Application, dice: random.Random, steps: int) -> None:
    """Store, process, retry, fold: in any order, some at the same time."""
    records = running.records
    ids: list[str] = []
    for _ in range(steps):
        choice = dice.random()
        if choice < 0.4 or not ids:
            body = (
                f'{{"source":"s{dice.randrange(3)}","category":"c{dice.randrange(3)}",'
                f'"payload":{{"priority":{dice.choice(["1", "7", "13", "null"])}}}}}'
            )
            made = await asyncio.gather(*(records.create(body.encode()) for _ in range(dice.randrange(1, 5))))
            ids += [record.id for record in made]
        elif choice < 0.7:
            chosen = [dice.choice(ids) for _ in range(4)]
            await asyncio.gather(*(records.process(one) for one in chosen), return_exceptions=True)
        elif choice < 0.85:
            try:
                await records.retry(dice.choice(ids))
            except Conflict:
                continue
        elif choice < 0.95:
            await running.engine.transact(lambda tx: rollups.fold(tx, 3))
        else:
            many = await records.process_many(Filter(category="c1"), limit=2)
            await running.engine.result(many.run_id, timeout=60)


@pytest.mark.parametrize("seed", [1, 2])
async def test_counts_equal_a_full_recount(running: Application, seed: int) -> None:
    await random_life(running, random.Random(seed), 60)

    assert await running.engine.read(wrong_counts) == 0
    before = await running.records.summary(read_filter(None, None, None, None))
    await running.records.fold()
    folded = await running.engine.read(kept)
    waiting = await running.engine.read(
        lambda connection: connection.execute(sa.select(sa.func.count()).select_from(record_deltas)).scalar()
    )
    after = await running.records.summary(read_filter(None, None, None, None))
    await running.records.rebuild_counts()
    recounted = await running.engine.read(kept)

    assert before == after
    assert waiting == 0
    assert folded == recounted
    assert len(folded) > 20


async def test_a_span_that_begins_within_a_day_is_counted_record_by_record(running: Application) -> None:
    await random_life(running, random.Random(3), 40)
    page = [record async for records in running.records.export(Filter()) for record in records]
    dice = random.Random(4)

    for _ in range(10):
        first, last = sorted(dice.sample(range(len(page)), 2))
        chosen = page[first : last + 1]
        wanted = read_filter(None, None, chosen[0].created_at, chosen[-1].created_at)
        found = await running.records.summary(wanted)

        assert found["totals"]["all"] == len(chosen)
        assert found["totals"]["failed"] == sum(record.status == "failed" for record in chosen)
        assert {row["source"]: row["count"] for row in found["by_source"]} == {
            source: sum(record.source == source for record in chosen) for source in {record.source for record in chosen}
        }


async def test_counts_changed_by_hand_can_be_counted_anew(running: Application) -> None:
    async def lines() -> Any:
        yield b'{"source":"s","category":"c","payload":{}}\n' * 5

    await Import(running.records, key=None, together=False, failures_only=True, max_record=1000).run(lines())
    await running.engine.transact(lambda tx: tx.execute("UPDATE records SET category = 'other'"))
    assert (await running.records.report("by_category", read_filter(None, None, None, None)))[0]["category"] == "c"
    assert await running.engine.read(wrong_counts) > 0

    await running.records.rebuild_counts()

    assert await running.engine.read(wrong_counts) == 0

    found = await running.records.report("by_category", read_filter(None, None, None, None))
    assert found == [{"category": "other", "count": 5}]


async def test_counts_are_folded_in_the_background(running: Application) -> None:
    async def lines() -> Any:
        for number in range(1500):
            yield b'{"source":"s%d","category":"c%d","payload":{}}\n' % (number % 40, number % 35)

    await Import(running.records, key=None, together=False, failures_only=True, max_record=1000).run(lines())

    async def folded() -> bool:
        return bool(await running.engine.read(kept))

    await wait_until_async(folded, 20, "a fold")
    totals = await running.records.report("totals", read_filter(None, None, None, None))
    assert totals == [{"all": 1500, "pending": 1500, "processed": 0, "failed": 0}]


def test_durations_keep_two_digits() -> None:
    assert [rounded(ms) for ms in (0, 7, 99, 100, 105, 999, 1000, 12345)] == [0, 7, 99, 100, 100, 990, 1000, 12000]
