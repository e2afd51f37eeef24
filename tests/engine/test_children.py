"""Child runs: workflows called by workflows, each a run of its own."""

import asyncio
import threading

import pytest

from tests.engine.lab import Lab, event_types, parked, payloads, status_of
from tests.support.waiting import wait_until_async
from windlass import Engine, Handle, RunCancelled, RunFailed, gather, map, signal, sleep, step, workflow  # noqa: A004
from windlass.engine import ending
from windlass.engine.types import RunFilter


@step
async def double(number: int) -> int:
    return 2 * number


@workflow
async def child(number: int) -> int:
    return await double(number)


@workflow(name="children.parent")
async def parent(number: int) -> int:
    return await child(number) + 1


async def children_of(engine: Engine, handle: Handle) -> list[Handle]:
    """Return handles of a run's children, oldest first."""
    found = await engine.list_runs(RunFilter(parent_run_id=handle.run_id, limit=2000))
    return [engine.handle(view.run_id) for view in reversed(found)]


async def test_a_workflow_called_by_another_runs_as_its_child(engine: Engine) -> None:
    handle = await engine.start_run(parent, 3, tenant_id="acme", owner="ada")

    assert await handle.result(timeout=10) == 7
    [kid] = await children_of(engine, handle)
    view = await kid.status()
    assert (view.name, view.parent_run_id, view.outputs) == ("child", handle.run_id, 6)
    assert (view.tenant_id, view.owner) == ("acme", "ada")
    [started] = await payloads(engine, handle, "child_started")
    assert (started["run_id"], started["workflow"]) == (kid.run_id, "child")
    [completed] = await payloads(engine, handle, "child_completed")
    assert (completed["run_id"], completed["status"], completed["result"]) == (kid.run_id, "succeeded", 6)


async def test_a_parent_that_waits_for_its_child_leaves_memory(engine: Engine) -> None:
    @workflow
    async def slow_child() -> object:
        return await signal("go")

    @workflow
    async def waits() -> object:
        return await slow_child()

    handle = await engine.start_run(waits)
    view = await parked(handle)
    [kid] = await children_of(engine, handle)
    assert view.wait_reason == f"child:{kid.run_id}"
    await parked(kid)
    await wait_until_async(lambda: not engine.worker.runs, what="the run to have left memory")

    await kid.signal("go", "done")

    assert await handle.result(timeout=10) == "done"


async def test_a_failed_child_fails_its_parent_with_its_error(engine: Engine) -> None:
    @workflow
    async def broken(number: int) -> int:
        raise ValueError(f"cannot {number}")

    @workflow
    async def hopeful() -> int:
        return await broken(3)

    handle = await engine.start_run(hopeful)
    with pytest.raises(RunFailed, match=r"child .*broken#1 failed: cannot 3"):
        await handle.result(timeout=10)


async def test_a_parent_may_catch_the_failure_of_its_child(engine: Engine) -> None:
    @workflow
    async def broken() -> None:
        raise ValueError("no")

    @workflow
    async def careful() -> list[object]:
        try:
            await broken()
        except RunFailed as error:
            return [error.data["error"], await double(4)]
        return []

    [error, number] = await (await engine.start_run(careful)).result(timeout=10)
    assert (error["type"], error["message"], number) == ("ValueError", "no", 8)


async def test_a_cancelled_child_is_heard_of_as_such(engine: Engine) -> None:
    @workflow
    async def endless() -> None:
        await signal("never")

    @workflow
    async def watching() -> str:
        try:
            await endless()
        except RunCancelled:
            return "child was cancelled"
        return ""

    handle = await engine.start_run(watching)
    await parked(handle)
    [kid] = await children_of(engine, handle)
    await kid.cancel()

    assert await handle.result(timeout=10) == "child was cancelled"


async def test_cancellation_reaches_grandchildren_and_their_running_steps(engine: Engine) -> None:
    begun, stopped = asyncio.Event(), asyncio.Event()

    @step
    async def endless() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    @workflow
    async def grandchild() -> None:
        await endless()

    @workflow
    async def middle() -> None:
        await grandchild()

    @workflow
    async def top() -> None:
        await gather(middle(), sleeper())

    @workflow
    async def sleeper() -> None:
        await sleep(days=1)

    handle = await engine.start_run(top)
    await begun.wait()
    await parked(handle)
    family = [handle, *await children_of(engine, handle)]
    family += [kid for each in family[1:] for kid in await children_of(engine, each)]
    assert len(family) == 4

    await handle.cancel("changed my mind")

    for each in family:
        view = await status_of(each, "cancelled")
        assert view.ended_at is not None
    await asyncio.wait_for(stopped.wait(), 10)
    assert (await handle.status()).status_reason == "changed my mind"
    await wait_until_async(lambda: not engine.worker.runs)


async def test_a_parent_that_fails_takes_its_open_children_along(engine: Engine) -> None:
    @step
    async def broken() -> None:
        raise ValueError

    @workflow
    async def endless() -> None:
        await signal("never")

    @workflow
    async def quarrel() -> None:
        await gather(endless(), late())

    @workflow
    async def late() -> None:
        await signal("fail")
        await broken()

    handle = await engine.start_run(quarrel)
    await parked(handle)
    kids = await children_of(engine, handle)
    await kids[1].signal("fail")

    with pytest.raises(RunFailed):
        await handle.result(timeout=10)
    assert (await status_of(kids[0], "cancelled")).status_reason == "parent_ended"
    assert (await status_of(kids[1], "failed")).status_reason == "StepFailed"


@workflow
async def brood(size: int) -> None:
    await gather(*(waiting_child() for _ in range(size)))


@workflow
async def waiting_child() -> None:
    await signal("never")


async def brooding(engine: Engine, size: int) -> tuple[Handle, list[Handle]]:
    """Return a parked run and its children, which wait for ever."""
    handle = await engine.start_run(brood, size)
    await parked(handle)
    kids = await children_of(engine, handle)
    assert len(kids) == size
    return handle, kids


async def test_all_children_of_a_cancelled_run_end_however_many_they_are(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, kids = await brooding(engine, 20)
    monkeypatch.setattr(ending, "CANCEL_AT_ONCE", 3)

    assert (await handle.cancel()).result == "applied"

    for kid in kids:
        assert (await status_of(kid, "cancelled")).status_reason == "parent_ended"


async def test_children_that_a_dead_process_left_to_be_cancelled_end_too(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await lab.engine()
    handle, kids = await brooding(engine, 20)
    monkeypatch.setattr(ending, "CANCEL_AT_ONCE", 3)
    monkeypatch.setattr(engine.worker, "_care", lambda _ended: None)
    await handle.cancel()
    other = await lab.engine()
    open_kids = [kid for kid in kids if (await other.get_run(kid.run_id)).ended_at is None]
    assert len(open_kids) > 10

    await lab.crash(engine)

    for kid in kids:
        assert (await status_of(other.handle(kid.run_id), "cancelled")).status_reason == "parent_ended"


async def test_a_thousand_children(engine: Engine) -> None:
    @workflow
    async def family(size: int) -> int:
        return sum(await gather(*(child(number) for number in range(size))))

    handle = await engine.start_run(family, 1000)

    assert await handle.result(timeout=60) == 999 * 1000
    kids = await children_of(engine, handle)
    assert len(kids) == 1000
    types = await event_types_of_all(engine, handle)
    assert (types.count("child_started"), types.count("child_completed")) == (1000, 1000)


async def event_types_of_all(engine: Engine, handle: Handle) -> list[str]:
    return [event.type for event in await engine.events(handle.run_id, limit=10_000)]


@pytest.mark.parametrize("overall", [False, True])
async def test_parents_and_children_in_the_same_limited_queue_never_deadlock(engine: Engine, overall: bool) -> None:
    @workflow(queue="narrow")
    async def leaf(number: int) -> int:
        return await double(number)

    @workflow(queue="narrow")
    async def branch(number: int) -> int:
        return sum(await gather(leaf(number), leaf(number + 1)))

    @workflow(queue="narrow")
    async def tree(number: int) -> int:
        return sum(await map(branch, range(number)))

    await engine.set_queue("*" if overall else "narrow", limit=1)
    handles = [await engine.start_run(tree, 3) for _ in range(4)]

    assert [await handle.result(timeout=30) for handle in handles] == [18] * 4


async def test_children_go_on_where_they_were_after_a_crash(lab: Lab) -> None:
    executed: list[str] = []

    @step
    async def record(name: str) -> str:
        executed.append(name)
        return name

    @workflow
    async def worker(name: str) -> list[object]:
        return [await record(f"{name} first"), await signal("go"), await record(f"{name} second")]

    @workflow
    async def boss() -> list[object]:
        return await gather(worker("a"), worker("b"))

    first = await lab.engine()
    handle = await first.start_run(boss)
    await parked(handle)
    await lab.crash(first)
    second = await lab.engine()
    kids = await children_of(second, handle)
    for kid in kids:
        await kid.signal("go", 1)

    assert await second.handle(handle.run_id).result(timeout=10) == [
        ["a first", 1, "a second"],
        ["b first", 1, "b second"],
    ]
    assert sorted(executed) == ["a first", "a second", "b first", "b second"]
    assert len(kids) == 2


async def test_a_child_carried_out_by_another_process(lab: Lab) -> None:
    @workflow(queue="gpu")
    async def heavy(number: int) -> int:
        return await double(number)

    @workflow
    async def light(number: int) -> int:
        return await heavy(number) + 1

    here = await lab.engine(queues=["default"])
    handle = await here.start_run(light, 5)
    await parked(handle)
    [kid] = await children_of(here, handle)
    assert (await kid.status()).status == "queued"

    there = await lab.engine(queues=["gpu"])

    assert await handle.result(timeout=10) == 11
    assert there.worker.runs == {}


async def test_a_child_s_input_is_checked_and_named(engine: Engine) -> None:
    @workflow
    async def wrong() -> int:
        return await child("three")  # type: ignore[arg-type]

    with pytest.raises(RunFailed, match="input of child, argument number"):
        await (await engine.start_run(wrong)).result(timeout=10)


async def test_children_run_in_threads_and_on_the_loop_alike(engine: Engine) -> None:
    threads: set[str] = set()

    @step
    def blocking(number: int) -> int:
        threads.add(threading.current_thread().name)
        return number

    @workflow
    async def kid(number: int) -> int:
        return await blocking(number)

    @workflow
    async def many() -> list[int]:
        return await map(kid, range(20), limit=5)

    handle = await engine.start_run(many)

    assert await handle.result(timeout=10) == list(range(20))
    assert threads
    assert "run_completed" in await event_types(engine, handle)


async def test_a_workflow_called_outside_a_run_is_refused() -> None:
    with pytest.raises(RuntimeError, match="workflow child works inside a workflow only"):
        await child(1)
