"""What a run is told and asked while it is open: values it publishes, updates it takes once, queries it answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from tests.engine.lab import IN_MEMORY, Lab, event_types, journal, parked, payloads, status_of
from tests.support.waiting import wait_until_async
from windlass import (
    Engine,
    NoAnswer,
    QueryFailed,
    QueryRefused,
    RunConflict,
    UnknownRun,
    UpdateFailed,
    UpdateRefused,
    UpdateTimeout,
    continue_as_new,
    now,
    on_query,
    publish,
    signal,
    sleep,
    step,
    updates,
    workflow,
)
from windlass.engine.heads import to_json
from windlass.replay.api import Outcome, replay
from windlass.storage import schema
from windlass.testing import Driver, crash_everywhere

weighed: list[int] = []


@step
async def weigh(item: int) -> int:
    weighed.append(item)
    return item * 10


@step
async def noting(text: str) -> None:
    publish("step", text)


@step
def noting_in_a_thread(text: str) -> None:
    publish("thread", text)


@workflow(name="updates.basket")
async def basket(most: int) -> list[int]:
    """Take items until there are enough of them; say how far it is."""
    items: list[int] = []

    def check(payload: Any) -> None:
        if payload["item"] in items:
            raise ValueError(f"{payload['item']} is in the basket already")

    def broken(arg: Any) -> int:
        return int(1 / arg)

    async def forbidden(arg: Any) -> object:
        if arg == "sleep":
            await sleep(1)
        return await weigh(arg) if arg == "step" else now()

    on_query("items", lambda arg: items[arg or 0 :])
    on_query("broken", broken)
    on_query("forbidden", forbidden)
    add = updates("add", validator=check)
    while len(items) < most:
        update = await add.receive()
        items.append(update.payload["item"])
        if update.payload["item"] == 13:
            update.fail("13 is unlucky")
        elif not update.payload.get("silent"):
            update.answer({"weight": await weigh(update.payload["item"]), "items": len(items)})
        publish("progress", {"items": len(items)})
    await noting("done")
    await noting_in_a_thread("done")
    return items


async def test_updates_are_checked_taken_once_and_answered_and_what_is_published_stays(lab: Lab) -> None:
    weighed.clear()
    first = await lab.engine()
    elsewhere = await lab.engine(worker=False)
    handle = await first.start_run(basket, 5)
    far = elsewhere.handle(handle.run_id)

    assert await handle.update("add", {"item": 1}, update_id="a") == {"weight": 10, "items": 1}
    before = await event_types(first, handle)
    for side in (handle, far):
        with pytest.raises(UpdateRefused, match="1 is in the basket already"):
            await side.update("add", {"item": 1}, timeout=20)
    assert await event_types(first, handle) == before
    await parked(handle)
    assert await far.query("items") == [1]
    waits = replay(basket, to_json({"most": 5}), await journal(first, handle))
    assert (waits.outcome, waits.waits) == (Outcome.WAITS, ("update:add#2",)), waits
    assert await far.update("add", {"item": 1}, update_id="a") == {"weight": 10, "items": 1}
    with pytest.raises(RunConflict, match="used with another update"):
        await far.update("add", {"item": 2}, update_id="a")
    assert await far.update("add", {"item": 2}, timeout=20) == {"weight": 20, "items": 2}
    assert await far.published() == {"progress": {"items": 2}}
    with pytest.raises(UpdateFailed, match="13 is unlucky"):
        await far.update("add", {"item": 13}, timeout=20)
    assert (await event_types(first, handle)).count("run_requeued") == 0
    await lab.crash(first)

    with pytest.raises(NoAnswer):
        await far.update("add", {"item": 4, "silent": True}, update_id="silent", timeout=0)
    second = await lab.engine()
    assert await far.query("items", 1, timeout=20) == [2, 13, 4]
    assert await far.update("add", {"item": 5}, timeout=20) == {"weight": 50, "items": 5}
    assert await far.update("add", {"item": 4, "silent": True}, update_id="silent") is None

    assert await second.handle(handle.run_id).result(timeout=20) == [1, 2, 13, 4, 5]
    assert weighed == [1, 2, 5]
    taken = [payload["payload"]["item"] for payload in await payloads(second, handle, "update_accepted")]
    assert taken == [1, 2, 13, 4, 5]
    assert (await event_types(second, handle)).count("value_published") == 5
    assert await far.published() == {"progress": {"items": 5}, "step": "done", "thread": "done"}
    assert await far.update("add", {"item": 1}, update_id="a") == {"weight": 10, "items": 1}
    with pytest.raises(RunConflict, match="succeeded and takes no updates"):
        await far.update("add", {"item": 6}, timeout=0)
    with pytest.raises(RunConflict, match="answers no queries: read what it has published"):
        await far.query("items")
    found = replay(basket, to_json({"most": 5}), await journal(second, handle))
    assert (found.outcome, found.strands) == (Outcome.ENDS, False), found


async def test_queries_look_and_change_nothing(engine: Engine, lab: Lab) -> None:
    weighed.clear()
    handle = await engine.start_run(basket, 1)
    far = (await lab.engine(worker=False)).handle(handle.run_id)
    await parked(handle)
    events = await event_types(engine, handle)

    for side in (far, handle):
        assert await side.query("items", timeout=20) == []
        with pytest.raises(QueryRefused, match="has no query 'other'; it has broken, forbidden, items"):
            await side.query("other", timeout=20)
        with pytest.raises(QueryFailed, match="ZeroDivisionError"):
            await side.query("broken", 0, timeout=20)
        for what in ("step", "sleep", "now"):
            with pytest.raises(QueryRefused, match="query 'forbidden' may only look"):
                await side.query("forbidden", what, timeout=20)
    await handle.pause()
    await status_of(handle, "paused")
    with pytest.raises(RunConflict, match="paused and answers no queries"):
        await far.query("items")
    await handle.resume()

    assert await event_types(engine, handle) == [*events, "run_paused", "run_resumed"]
    assert weighed == []
    c = schema.workflow_requests.c
    left = await engine.read(lambda one: one.execute(sa.select(c.request_id)).all())
    assert left == []
    assert await engine.transact(lambda tx: tx.load_inbox([handle.run_id])) == {}
    with pytest.raises(UnknownRun):
        await engine.handle("nobody").query("items")
    with pytest.raises(UnknownRun):
        await engine.handle("nobody").update("add")
    await far.update("add", {"item": 1})


@IN_MEMORY
async def test_a_query_that_nobody_waits_for_leaves_nothing(engine: Engine, lab: Lab) -> None:
    handle = await engine.start_run(basket, 1)
    await parked(handle)
    far = (await lab.engine(worker=False)).handle(handle.run_id)

    with pytest.raises(NoAnswer):
        await far.query("items", timeout=0)

    c = schema.workflow_requests.c
    assert await engine.read(lambda one: one.execute(sa.select(c.request_id)).all()) == []
    await far.update("add", {"item": 1}, timeout=20)


@workflow(name="updates.patient")
async def patient(seconds: float) -> list[str | None]:
    """Wait for an update, or for the time."""
    heard: list[str | None] = []
    try:
        while True:
            heard.append(await updates("word").handle(spell, timeout=seconds))
    except UpdateTimeout:
        return heard


async def spell(word: str) -> str:
    if not word:
        raise ValueError("nothing to spell")
    await weigh(len(word))
    return "-".join(word)


async def test_a_handler_answers_and_a_wait_ends_with_its_time(engine: Engine, lab: Lab) -> None:
    handle = await engine.start_run(patient, 3600)

    assert await handle.update("word", "abc", timeout=20) == "a-b-c"
    with pytest.raises(UpdateFailed, match="nothing to spell"):
        await handle.update("word", "", timeout=20)
    pending = asyncio.ensure_future(handle.update("other", "x"))
    await parked(handle)
    lab.pass_time(hours=2)

    assert await handle.result(timeout=20) == ["a-b-c", None]
    with pytest.raises(RunConflict, match="succeeded and took no update 'other'"):
        await pending
    kinds = await event_types(engine, handle)
    assert (kinds.count("update_timed_out"), kinds.count("update_answered")) == (1, 2)


@workflow(name="updates.hasty")
async def hasty() -> str:
    """End without an answer."""
    await updates("word").receive()
    await signal("end")
    return "over"


async def test_one_that_is_taken_and_never_answered_is_a_conflict_at_the_end(engine: Engine) -> None:
    handle = await engine.start_run(hasty)
    asked = asyncio.ensure_future(handle.update("word", 1))
    assert engine.live is not None

    async def taken() -> bool:
        return "update_accepted" in await event_types(engine, handle)

    await handle.signal("end")
    with pytest.raises(RunConflict, match="has not answered update 'word', which it took"):
        await asked
    assert await taken()


@workflow(name="updates.anew")
async def anew(taken: list[int]) -> list[int]:
    """Take one update a life, and leave one of them open."""
    on_query("taken", lambda: taken)
    async for update in updates("number"):
        taken.append(update.payload)
        if update.payload != 1:
            update.answer(len(taken))
        if len(taken) < 3:
            continue_as_new(taken)
        return taken
    return []


@IN_MEMORY
async def test_updates_and_queries_find_a_run_that_begins_anew(engine: Engine) -> None:
    handle = await engine.start_run(anew, [])
    sent = [asyncio.ensure_future(handle.update("number", number, timeout=20)) for number in range(2)]

    assert await asyncio.gather(*sent) == [1, None]
    assert await handle.query("taken") == [0, 1]
    assert await handle.update("number", 2) == 3
    assert await handle.result(timeout=20) == [0, 1, 2]


def test_it_survives_a_crash_at_every_commit() -> None:
    answers: list[list[Any]] = []

    async def drive(run: Driver) -> None:
        mine: list[Any] = []
        answers.append(mine)
        mine.append(await run.update("add", {"item": 1}))
        try:
            await run.update("add", {"item": 1})
        except UpdateRefused as error:
            mine.append(str(error))
        mine.append(await run.query("items"))
        mine.append(await run.update("add", {"item": 2}))

    report = crash_everywhere(basket, 2, drive=drive, effects=lambda: [*weighed], fresh=weighed.clear)

    assert sum(report.lives.values()) > 20
    whole = [{"weight": 10, "items": 1}, "1 is in the basket already", [1], {"weight": 20, "items": 2}]
    assert all(mine == whole[: len(mine)] and len(mine) >= 3 for mine in answers), answers
    assert sum(event.type == "update_accepted" for event in report.journal) == 2


@workflow(name="updates.leaving")
async def leaving() -> str:
    """Have a validator and a handler that would leave the process."""

    def leave(word: str) -> None:
        if word:
            raise {"exit": SystemExit(3), "cancel": asyncio.CancelledError("no"), "stop": StopIteration()}[word]

    on_query("leave", leave)
    update = await updates("word", validator=leave).receive()
    update.answer("ok")
    return "over"


@IN_MEMORY
async def test_code_that_looks_ends_neither_the_process_nor_the_run(engine: Engine, lab: Lab) -> None:
    handle = await engine.start_run(leaving)
    far = (await lab.engine(worker=False)).handle(handle.run_id)

    for word, said in (("exit", "SystemExit: 3"), ("cancel", "CancelledError: no"), ("stop", "StopIteration")):
        with pytest.raises(UpdateRefused, match=said):
            await handle.update("word", word, timeout=20)
        for side in (handle, far):
            with pytest.raises(QueryFailed, match=said):
                await side.query("leave", word, timeout=20)
    assert await handle.update("word", "", timeout=20) == "ok"
    assert await handle.result(timeout=20) == "over"


hearing: list[Any] = []
frozen: list[Any] = []


@step
async def roll() -> int:
    """Return another number each time; the first is never written."""
    hearing.append(len(hearing))
    if len(hearing) == 1:
        frozen[0].freeze(frozen[1])
    return len(hearing)


@workflow(name="updates.rolling")
async def rolling() -> int:
    """Say what was rolled."""
    rolled: list[int] = []
    on_query("rolled", lambda: rolled)
    rolled.append(await roll())
    hearing.append("heard")
    await signal("end")
    return rolled[0]


@IN_MEMORY
async def test_a_query_tells_nothing_that_a_crash_could_undo(engine: Engine, lab: Lab) -> None:
    hearing.clear()
    frozen[:] = [lab, engine]
    handle = await engine.start_run(rolling)
    await wait_until_async(lambda: "heard" in hearing)

    with pytest.raises(NoAnswer):
        await handle.query("rolled", timeout=0)
    await lab.crash(engine)
    second = (await lab.engine()).handle(handle.run_id)
    await parked(second)

    assert await second.query("rolled", timeout=20) == [3]
    await second.signal("end")
    assert await second.result(timeout=20) == 3
