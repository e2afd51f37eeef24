"""Patch markers: a run takes the way of its own time at every place, live, after a crash and in a replay."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from tests.engine.lab import Lab, journal, parked, payloads
from tests.support.waiting import wait_until_async
from windlass import (
    Engine,
    Registry,
    deprecate_patch,
    gather,
    map,  # noqa: A004
    patched,
    signal,
    step,
    workflow,
)
from windlass.kernel.checks import BadName
from windlass.replay.api import Replay, replay

HOUR = 3600


@step
async def does(what: str) -> str:
    return what


@step
async def adds(what: str) -> str:
    return f"new {what}"


def release(fn: Callable[..., Any]) -> Registry:
    """What a process knows that has this code."""
    registry = Registry()
    workflow(name="patches.order", registry=registry)(fn)
    return registry


async def old() -> list[str]:
    done = [await does("first")]
    await signal("go", timeout=HOUR)
    done.append(await does("last"))
    return done


async def new() -> list[str]:
    done = []
    if patched("before"):
        done.append(await adds("begin"))
    done.append(await does("first"))
    if patched("between"):
        done.append(await adds("middle"))
    await signal("go", timeout=HOUR)
    done.append(await does("last"))
    if patched("behind"):
        done.append(await adds("end"))
    return done


def looped(fresh: bool) -> Callable[..., Any]:
    async def loop() -> list[str]:
        done = []
        for number in range(4):
            if fresh and patched("loop"):
                done.append(await adds(str(number)))
            done.append(await does(str(number)))
            await signal("go", timeout=HOUR)
        return done

    return loop


def branched(fresh: bool) -> Callable[..., Any]:
    async def branch(name: str) -> list[str]:
        done = [await does(name)]
        if fresh and patched("branch"):
            done.append(await adds(name))
        await signal(name, timeout=HOUR)
        return done

    async def root() -> list[Any]:
        begun = [await adds("begin")] if fresh and patched("root") else []
        beside = await gather(map(branch, ["a", "b", "c"], limit=1), branch("d"))
        if fresh and patched("root"):
            begun.append(await adds("end"))
        return [begun, *beside]

    return root


async def waits(engine: Engine, run_id: str, signals: int) -> None:
    """Wait until a run has begun to wait for so many signals and left memory."""

    async def so() -> bool:
        kinds = [event.type for event in await engine.events(run_id)]
        return kinds.count("signal_awaited") == signals and (await engine.get_run(run_id)).holder is None

    await wait_until_async(so, what=f"{run_id} waits for signal {signals}")


async def follows(engine: Engine, run_id: str, fn: Callable[..., Any]) -> Replay:
    return replay(release(fn).get("patches.order"), "{}", await journal(engine, engine.handle(run_id)))


async def test_runs_take_the_old_way_where_they_have_been_and_the_new_one_elsewhere(lab: Lab) -> None:
    engine = await lab.engine(registry=release(old))
    handle = await engine.start_run("patches.order")
    await parked(handle)
    await lab.stop(engine)
    engine = await lab.engine(registry=release(new))
    fresh = await engine.start_run("patches.order")
    for run_id in (handle.run_id, fresh.run_id):
        await engine.signal(run_id, "go")

    assert await engine.result(handle.run_id, 20) == ["first", "last", "new end"]
    assert await fresh.result(20) == ["new begin", "first", "new middle", "last", "new end"]
    assert await payloads(engine, engine.handle(handle.run_id), "value_recorded") == [{"value": True}]
    for run_id in (handle.run_id, fresh.run_id):
        events = await journal(engine, engine.handle(run_id))
        parts = [replay(release(new).get("patches.order"), "{}", events[:end]) for end in range(1, len(events) + 1)]
        assert [part.outcome for part in parts if part.strands] == []
    assert (await follows(engine, fresh.run_id, old)).strands


async def test_each_pass_through_a_loop_is_a_place_of_its_own(lab: Lab) -> None:
    engine = await lab.engine(registry=release(looped(False)))
    handle = await engine.start_run("patches.order")
    await engine.signal(handle.run_id, "go")
    await waits(engine, handle.run_id, 2)
    await lab.stop(engine)
    for signals in (3, 4):
        engine = await lab.engine(registry=release(looped(True)))
        await engine.signal(handle.run_id, "go")
        await waits(engine, handle.run_id, signals)
        await lab.crash(engine)
    engine = await lab.engine(registry=release(looped(True)))
    await engine.signal(handle.run_id, "go")

    assert await engine.result(handle.run_id, 20) == ["0", "1", "new 2", "2", "new 3", "3"]
    again = await follows(engine, handle.run_id, looped(True))
    assert orjson.loads(again.outputs or "") == ["0", "1", "new 2", "2", "new 3", "3"]


async def test_branches_are_told_apart(lab: Lab) -> None:
    engine = await lab.engine(registry=release(branched(False)))
    handle = await engine.start_run("patches.order")
    await waits(engine, handle.run_id, 2)
    await lab.stop(engine)
    for name, signals in (("a", 3), ("b", 4)):
        engine = await lab.engine(registry=release(branched(True)))
        await engine.signal(handle.run_id, name)
        await waits(engine, handle.run_id, signals)
        await lab.crash(engine)
    engine = await lab.engine(registry=release(branched(True)))
    for name in ("c", "d"):
        await engine.signal(handle.run_id, name)

    expected = [["new end"], [["a"], ["b", "new b"], ["c", "new c"]], ["d"]]
    assert await engine.result(handle.run_id, 20) == expected
    again = await follows(engine, handle.run_id, branched(True))
    assert orjson.loads(again.outputs or "") == expected


async def deprecating() -> list[str]:
    deprecate_patch("before")
    done = [await adds("begin"), await does("first")]
    await signal("go", timeout=HOUR)
    return done


async def patching() -> list[str]:
    done = []
    if patched("before"):
        done.append(await adds("begin"))
    done.append(await does("first"))
    await signal("go", timeout=HOUR)
    return done


async def plain() -> list[str]:
    done = [await adds("begin"), await does("first")]
    await signal("go", timeout=HOUR)
    return done


async def before_all() -> list[str]:
    done = [await does("first")]
    await signal("go", timeout=HOUR)
    return done


async def test_a_marker_is_taken_out_in_two_steps(lab: Lab) -> None:
    fits = {}
    for fn in (before_all, patching, deprecating, plain):
        engine = await lab.engine(registry=release(fn))
        handle = await engine.start_run("patches.order")
        await parked(handle)
        fits[fn.__name__] = [
            other.__name__
            for other in (before_all, patching, deprecating, plain)
            if not (await follows(engine, handle.run_id, other)).strands
        ]
        await engine.control(handle.run_id, "cancel")
        await lab.stop(engine)

    assert fits == {
        "before_all": ["before_all", "patching"],
        "patching": ["patching", "deprecating"],
        "deprecating": ["patching", "deprecating", "plain"],
        "plain": ["deprecating", "plain"],
    }


async def test_markers_have_names_and_stand_in_workflows(lab: Lab) -> None:
    for mark in (patched, deprecate_patch):
        with pytest.raises(BadName):
            mark("no name")
        with pytest.raises(RuntimeError, match="inside a workflow"):
            mark("outside")
    assert lab.processes == {}
