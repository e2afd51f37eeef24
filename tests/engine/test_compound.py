"""A step made of steps: one outcome around calls that have their own."""

from typing import Any

import pytest

from tests.engine.lab import Lab, parked
from tests.support.waiting import wait_until_async
from windlass import Engine, Fatal, RunFailed, StepFailed, map, signal, step, workflow  # noqa: A004  as users write it
from windlass.contexts.workflows.runs.compound import compound

executed: list[str] = []
broken: set[str] = set()


@pytest.fixture(autouse=True)
def _nothing_done() -> None:
    executed.clear()
    broken.clear()


@step
async def note(name: str) -> str:
    executed.append(name)
    if name in broken:
        raise Fatal(name)
    return name


@workflow(name="compound.nested")
async def nested(wait: bool = False) -> Any:
    async def outer() -> dict[str, Any]:
        first = await note("a")
        items = await map(note, ["x", "y", "z"])

        async def inner() -> str:
            return await note("b")

        deep = await compound("inner", inner, kind="group")
        if wait:
            await signal("go")
        return {"first": first, "items": items, "deep": deep}

    result = await compound("outer", outer)
    return [result, await note("after")]


EXPECTED = [{"first": "a", "items": ["x", "y", "z"], "deep": "b"}, "after"]


async def test_it_has_a_place_and_an_outcome_of_its_own(engine: Engine) -> None:
    handle = await engine.start_run(nested)

    assert await handle.result() == EXPECTED
    events = await engine.events(handle.run_id)
    paths = [event.step_id for event in events if event.type == "step_completed"]
    assert sorted(map_paths(paths)) == sorted([
        "outer#1/note#1", "outer#1/m1.0/note#1", "outer#1/m1.1/note#1", "outer#1/m1.2/note#1", "outer#1/inner#1/note#1",
        "outer#1/inner#1", "outer#1", "note#1",
    ])  # fmt: skip
    assert '"type":"group"' in next(e.payload for e in events if e.step_id == "outer#1/inner#1").replace(" ", "")


def map_paths(paths: list[str | None]) -> list[str]:
    """The paths that are there."""
    return [path for path in paths if path is not None]


async def test_a_crash_inside_repeats_nothing(lab: Lab) -> None:
    first = await lab.engine()
    handle = await first.start_run(nested, wait=True)
    await parked(handle)
    await lab.crash(first)
    second = await lab.engine()
    assert sorted(executed) == ["a", "b", "x", "y", "z"]

    await second.signal(handle.run_id, "go")

    assert await second.handle(handle.run_id).result() == EXPECTED
    assert sorted(executed) == ["a", "after", "b", "x", "y", "z"]


@pytest.mark.parametrize("culprit", ["b", "y"])
async def test_a_retry_begins_with_the_call_inside_that_failed(engine: Engine, culprit: str) -> None:
    broken.add(culprit)
    handle = await engine.start_run(nested)
    with pytest.raises(RunFailed):
        await handle.result()
    done = executed.count("a")
    broken.clear()

    await handle.retry()

    assert await handle.result() == EXPECTED
    assert executed.count("a") == done == 1
    assert executed.count(culprit) == 2


@workflow(name="compound.catching")
async def catching() -> list[str]:
    async def fails() -> str:
        return await note("b")

    said = ""
    try:
        await compound("outer", fails)
    except StepFailed as failed:
        said = str(failed)
    await signal("go")
    return [said, await note("after")]


async def test_its_failure_can_be_caught_and_is_the_same_replayed(lab: Lab) -> None:
    broken.add("b")
    first = await lab.engine()
    handle = await first.start_run(catching)
    await parked(handle)
    await lab.crash(first)
    second = await lab.engine()

    await second.signal(handle.run_id, "go")

    said, after = await second.handle(handle.run_id).result()
    assert said == "step outer#1 failed: StepFailed: step outer#1/note#1 failed: Fatal: b"
    assert (after, executed.count("b")) == ("after", 1)
    await wait_until_async(lambda: not second.worker.runs)
