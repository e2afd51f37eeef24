"""Runs are moved to other code: migrated where it follows their journal, forked where it does not."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.lab import Lab, event_types, journal, parked, payloads, status_of
from tests.support.waiting import wait_until_async
from windlass import (
    Engine,
    Registry,
    RunCancelled,
    RunConflict,
    RunFailed,
    UnknownWorkflow,
    gather,
    publish,
    signal,
    step,
    stream,
    workflow,
)
from windlass.deploy import moving
from windlass.engine.ports import Transaction
from windlass.kernel.errors import Invalid

done: list[str] = []


@step
async def charge(card: str) -> str:
    done.append(f"charge {card}")
    return f"paid by {card}"


@step
async def pack(item: str) -> str:
    done.append(f"pack {item}")
    return f"packed {item}"


@step
async def wrap(item: str) -> str:
    done.append(f"wrap {item}")
    return f"wrapped {item}"


async def first(card: str) -> list[str]:
    paid = await charge(card)
    packed = await gather(pack("a"), pack("b"))
    await signal("go")
    return [paid, *packed, "first"]


async def second(card: str) -> list[str]:
    paid = await charge(card)
    packed = await gather(pack("a"), pack("b"))
    await signal("go")
    return [paid, *packed, await wrap("all"), "second"]


async def third(card: str) -> list[str]:
    paid = await charge(card)
    wrapped = await gather(wrap("a"), wrap("b"))
    await signal("go")
    return [paid, *wrapped, "third"]


VERSIONS: dict[str, Callable[..., Any]] = {"1": first, "2": second, "3": third}


def release(*versions: str) -> Registry:
    registry = Registry()
    for version in versions:
        workflow(name="moving.order", version=version, registry=registry)(VERSIONS[version])

    @workflow(name="moving.parent", registry=registry)
    async def parent(card: str) -> None:
        await registry.get("moving.order", versions[0])(card)  # type: ignore[operator]

    return registry


told: list[str] = []


def tell(tx: Transaction) -> None:
    assert tx is not None
    told.append("told")


async def stranded(lab: Lab) -> str:
    """A run of the first version, which waits and which nobody here knows any more."""
    done.clear()
    told.clear()
    engine = await lab.engine(registry=release("1"))
    handle = await engine.start_run("moving.order", "visa", attributes={"of": "ann"}, owner="ann")

    async def waits() -> bool:
        return (await event_types(engine, handle)).count("step_completed") == 3

    await wait_until_async(waits)
    await parked(handle)
    await lab.stop(engine)
    done.clear()
    return handle.run_id


async def test_a_run_is_migrated_to_a_version_that_follows_its_journal(any_lab: Lab) -> None:
    run_id = await stranded(any_lab)
    engine = await any_lab.engine(registry=release("2", "3"))
    await engine.signal(run_id, "go")
    for version, error, message in (
        ("3", RunConflict, "would strand with moving.order@3.*pack#1.*wrap#1"), ("1", UnknownWorkflow, "moving.order"),
        ("4", UnknownWorkflow, "moving.order@4"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            await moving.migrate(engine, run_id, version, by="ann", tell=tell)
    assert (await engine.get_run(run_id)).interface_version == "1"
    assert told == []

    moved = await moving.migrate(engine, run_id, "2", by="ann", tell=tell)

    assert (moved.run_id, moved.from_version, moved.to_version, told) == (run_id, "1", "2", ["told"])
    expected = ["paid by visa", "packed a", "packed b", "wrapped all", "second"]
    assert await engine.result(run_id, 20) == expected
    assert done == ["wrap all"]
    handle = engine.handle(run_id)
    assert await payloads(engine, handle, "run_migrated") == [{"from": "1", "to": "2", "by": "ann"}]
    assert (await handle.status()).interface_version == "2"
    with pytest.raises(Invalid, match="already"):
        await moving.migrate(engine, run_id, "2", by="ann", tell=tell)
    with pytest.raises(RunConflict, match="is succeeded"):
        await moving.migrate(engine, run_id, "3", by="ann", tell=tell)


async def test_a_run_is_forked_from_a_step_and_the_old_one_is_cancelled(any_lab: Lab) -> None:
    run_id = await stranded(any_lab)
    engine = await any_lab.engine(registry=release("2", "3"))
    await engine.signal(run_id, "go")
    with pytest.raises(Invalid, match="no call 'wrap#1'"):
        await moving.fork(engine, run_id, "wrap#1", "3", by="ann", tell=tell)
    with pytest.raises(UnknownWorkflow):
        await moving.fork(engine, run_id, "charge#1", None, by="ann", tell=tell)
    before = await journal(engine, engine.handle(run_id))
    assert told == []

    moved = await moving.fork(engine, run_id, "g1.0/pack#1", "3", by="ann", tell=tell)

    assert (moved.from_run_id, moved.from_version, moved.to_version, told) == (run_id, "1", "3", ["told"])
    assert await engine.result(moved.run_id, 20) == ["paid by visa", "wrapped a", "wrapped b", "third"]
    assert sorted(done) == ["wrap a", "wrap b"]
    new = engine.handle(moved.run_id)
    view = await new.status()
    assert (view.owner, view.attributes) == ("ann", {"of": "ann", "forked_from": run_id})
    assert (await event_types(engine, new))[:4] == ["run_started", "run_forked", "step_started", "step_completed"]
    assert await payloads(engine, new, "run_forked") == [
        {"from_run_id": run_id, "from_step": "g1.0/pack#1", "by": "ann"}
    ]
    with pytest.raises(RunCancelled, match=moved.run_id):
        await engine.result(run_id, 20)
    assert (await journal(engine, engine.handle(run_id)))[: len(before)] == before

    again = await moving.fork(engine, moved.run_id, "signal:go#1", None, by="ann", tell=tell)
    assert (again.from_version, again.to_version) == ("3", "3")
    await engine.signal(again.run_id, "go")
    assert await engine.result(again.run_id, 20) == ["paid by visa", "wrapped a", "wrapped b", "third"]
    assert (await new.status()).status == "succeeded"
    assert sorted(done) == ["wrap a", "wrap b"]


@step
async def speak(word: str) -> None:
    await stream("words").write(word)
    publish("step", word)


@workflow(name="moving.teller")
async def teller() -> list[int]:
    out = stream("words")
    places = [await out.write("first", None)]
    publish("said", {"words": 2})
    await stream("short").write("all")
    await stream("short").close()
    await speak("second")
    publish("said", {"words": 3})
    await signal("go")
    places.append(await out.write("third"))
    return places


async def test_a_fork_has_what_the_old_run_had_told_by_then(any_lab: Lab) -> None:
    engine = await any_lab.engine()
    handle = await engine.start_run(teller)
    await handle.signal("go")
    assert await handle.result(timeout=20) == [0, 3]

    moved = await moving.fork(engine, handle.run_id, "signal:go#1", None, by="ann", tell=tell)
    new = engine.handle(moved.run_id)
    told_before = await new.published()
    await new.signal("go")

    assert await new.result(timeout=20) == [0, 3]
    assert told_before == {"said": {"words": 3}, "step": "second"}
    items = [(item.offset, item.value, item.step) async for item in new.read_stream("words")]
    assert items == [(0, "first", None), (1, None, None), (2, "second", "speak#1"), (3, "third", None)]
    assert [item.value async for item in new.read_stream("short")] == ["all"]
    assert (await engine.live.items(moved.run_id, "short")).closed


async def test_a_run_that_is_worked_on_or_is_a_child_is_left_alone(lab: Lab) -> None:
    registry = release("1", "2")
    free = asyncio.Event()

    @workflow(name="moving.busy", registry=registry)
    async def busy() -> None:
        await waits()

    @workflow(name="moving.busy", version="2", registry=registry)
    async def busier() -> None:
        await waits()
        await waits()

    @step
    async def waits() -> None:
        await free.wait()

    @step(compensate=wrap)
    async def undone() -> str:
        return "undone"

    @workflow(name="moving.undone", registry=registry)
    async def undoes() -> None:
        await undone()
        await charge("late")
        raise ValueError("too late")

    engine: Engine = await lab.engine(registry=registry)
    handle = await engine.start_run(busy)
    await status_of(handle, "running")
    with pytest.raises(RunConflict, match="pause it first"):
        await moving.migrate(engine, handle.run_id, "2", by="ann", tell=tell)
    free.set()
    await handle.result(20)

    failed = await engine.start_run(undoes)
    with pytest.raises(RunFailed, match="too late"):
        await failed.result(20)
    with pytest.raises(RunConflict, match="begun to undo"):
        await moving.fork(engine, failed.run_id, "charge#1", None, by="ann", tell=tell)

    parent = await engine.start_run("moving.parent", "visa")
    await parked(parent)
    [child] = [run.run_id for run in await engine.list_runs() if run.parent_run_id == parent.run_id]
    await parked(engine.handle(child))
    with pytest.raises(RunConflict, match="fork its parent"):
        await moving.fork(engine, child, "charge#1", "2", by="ann", tell=tell)
    moved = await moving.migrate(engine, child, "2", by="ann", tell=tell)
    await engine.signal(child, "go")
    await parent.result(20)
    assert (await engine.get_run(moved.run_id)).outputs[-1] == "second"
