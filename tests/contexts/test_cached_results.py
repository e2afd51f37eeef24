"""What ``cache_result`` keeps: for one tenant, for its time, and no more than so much of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.engine.lab import Lab
from tests.storage.databases import postgres_database, sqlite_database
from windlass import Engine
from windlass.contexts.workflows.results import cache as module
from windlass.contexts.workflows.results.cache import MOST_BYTES, ResultCache
from windlass.contexts.workflows.results.tables import results
from windlass.contexts.workflows.steptypes.base import StepFailure


@pytest.fixture
async def lab(database_url: str) -> AsyncIterator[Lab]:
    """One clock over a database."""
    if database_url.startswith("sqlite"):
        made = Lab(sqlite_database(Path(database_url.removeprefix("sqlite:///"))))
    else:
        made = Lab(postgres_database(database_url, empty=False))
    yield made
    await made.close()


async def keys(engine: Engine) -> list[str]:
    query = sa.select(results.c.cache_key).order_by(results.c.cache_key)
    found = await engine.read(lambda connection: [*connection.execute(query).scalars()])
    return [str(key) for key in found]


async def test_a_value_is_kept_for_its_tenant_and_its_time(lab: Lab) -> None:
    engine, other = await lab.engine(), await lab.engine()
    cache, elsewhere = ResultCache(engine), ResultCache(other)
    value: Any = {"b": [1, None, "é\0"], "a": 2}

    kept = await cache.put("acme", "k", value, 60, replace=False)
    assert (kept.value, kept.stored) == (value, True)
    lab.pass_time(seconds=30)
    second = await elsewhere.put("acme", "k", "another", 60, replace=False)
    assert (second.value, second.age >= 30, second.stored) == (value, True, False)
    found = await elsewhere.get("acme", "k")
    assert found is not None
    assert list(found.value) == ["b", "a"], "as it was written"
    assert await cache.get("other", "k") is None
    assert await cache.drop("other", "k") is False
    lab.pass_time(seconds=30)
    assert await cache.get("acme", "k") is None
    assert (await cache.put("acme", "k", 1, 60, replace=False)).stored
    assert (await cache.put("acme", "k", 2, 60, replace=True)).value == 2
    assert [await cache.drop("acme", "k"), await cache.drop("acme", "k")] == [True, False]


async def test_of_many_that_set_one_wins(lab: Lab) -> None:
    caches = [ResultCache(await lab.engine()) for _ in range(2)]

    kept = await asyncio.gather(
        *(caches[n % 2].put("acme", "k", n, 60, replace=False) for n in range(20))
    )  # fmt: skip

    assert [one.stored for one in kept].count(True) == 1
    assert len({one.value for one in kept}) == 1


async def test_what_is_kept_is_bounded(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ENTRIES", 5)
    monkeypatch.setattr(module, "SWEPT", 2)
    engine = await lab.engine()
    cache = ResultCache(engine)
    for refused in ("x" * MOST_BYTES, "\ud800", {1, 2}):
        with pytest.raises(StepFailure, match="validation_error"):
            await cache.put("acme", "big", refused, 60, replace=True)
    await cache.put("other", "o", 1, 10, replace=True)
    for number in range(9):
        await cache.put("acme", f"k{number}", number, 60 + number, replace=True)
    assert await keys(engine) == ["k4", "k5", "k6", "k7", "k8", "o"], "those went first whose time is up first"

    lab.pass_time(minutes=2)
    await cache.put("acme", "new", 1, 60, replace=True)
    assert await keys(engine) == ["k7", "k8", "new"], "what is over goes a few at a time"
