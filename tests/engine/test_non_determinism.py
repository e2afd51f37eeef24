"""Code that has changed under an open run: it fails naming both sides, and is retried once the code is mended."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.engine.lab import Lab, parked
from windlass import (
    Engine,
    Handle,
    NonDeterminismError,
    Registry,
    RunFailed,
    gather,
    now,
    signal,
    sleep,
    step,
    workflow,
)
from windlass.engine.ports import Transaction

Body = Callable[[], Awaitable[Any]]
executed: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    executed.clear()


@step
async def a(number: int = 0) -> str:
    executed.append(f"a{number}")
    return f"a{number}"


@step
async def b() -> str:
    executed.append("b")
    return "b"


@step
async def c() -> str:
    executed.append("c")
    return "c"


def code(body: Body) -> Registry:
    """Return what a process knows whose workflow ``changing`` has this body."""
    registry = Registry()

    @workflow(name="changing", registry=registry)
    async def changing() -> Any:
        return await body()

    return registry


async def original() -> str:
    results = await a() + await b()
    await sleep(days=1)
    return results + await c()


async def waiting() -> str:
    await a()
    await signal("go")
    return await b()


async def renamed() -> str:
    await c()
    await b()
    await sleep(days=1)
    return ""


async def removed() -> str:
    await a()
    await sleep(days=1)
    return ""


async def removed_at_the_end() -> str:
    return await a() + await b()


async def inserted() -> str:
    await a()
    await c()
    await b()
    await sleep(days=1)
    return ""


async def reordered() -> str:
    await b()
    await a()
    await sleep(days=1)
    return ""


async def other_input() -> str:
    await a(7)
    await b()
    await sleep(days=1)
    return ""


async def other_kind() -> str:
    await a()
    await b()
    now()
    return ""


async def moved_into_branches() -> str:
    await gather(a(), b())
    await sleep(days=1)
    return ""


async def swallowed() -> str:
    with suppress(NonDeterminismError):
        await a(7)
    await b()
    await sleep(days=1)
    return await c()


async def swallowed_in_a_branch() -> str:
    await gather(b(), c(), return_exceptions=True)
    return "never mind"


async def asleep_with(lab: Lab, body: Body) -> tuple[Engine, Handle]:
    """Run ``original`` to its sleep, crash, and let a process go on whose code is ``body``."""
    first = await lab.engine(registry=code(original))
    handle = await first.start_run("changing")
    await parked(handle)
    await lab.crash(first)
    executed.clear()
    lab.clock.move(days=1)
    second = await lab.engine(registry=code(body))
    return second, second.handle(handle.run_id)


@pytest.mark.parametrize(
    "body,message",
    [
        (renamed, r"the journal holds 'a#1' where the code calls 'c#1'"),
        (removed, r"the journal holds 'b#1' where the code calls 'sleep#1'"),
        (removed_at_the_end, r"the journal holds 'sleep#1', which the code never calls"),
        (inserted, r"the journal holds 'b#1' where the code calls 'c#1'"),
        (reordered, r"the journal holds 'a#1' where the code calls 'b#1'"),
        (other_input, r"step 'a#1' is called with another input than its journal holds"),
        (other_kind, r"the journal holds 'sleep#1' where the code calls 'now#1'"),
        (moved_into_branches, r"the journal holds 'a#1' where the code calls 'sleep#1'"),
        (swallowed, r"step 'a#1' is called with another input than its journal holds"),
        (swallowed_in_a_branch, r"the journal holds 'a#1', which the code never calls"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_changed_code_fails_naming_both_sides(lab: Lab, body: Body, message: str) -> None:
    _, handle = await asleep_with(lab, body)

    with pytest.raises(RunFailed, match=message) as caught:
        await handle.result(timeout=10)

    assert (await handle.status()).status_reason == "NonDeterminismError"
    error = caught.value.data["error"]
    assert isinstance(error, dict)
    assert error["type"] == "NonDeterminismError"
    assert "workflow changing" in error["message"]


async def test_nothing_is_built_on_a_journal_with_a_gap(lab: Lab) -> None:
    engine = await lab.engine(registry=code(waiting))
    handle = await engine.start_run("changing")
    await parked(handle)

    def lose(tx: Transaction) -> None:
        [head] = tx.lock_runs([handle.run_id]).values()
        head.last_seq += 2
        tx.write_heads([head])

    await engine.transact(lose)
    await handle.signal("go")

    with pytest.raises(RunFailed, match="2 of its events are missing, and it would do again what they recorded"):
        await handle.result(timeout=10)
    assert executed == ["a0"]


@pytest.mark.parametrize("body", [renamed, removed, inserted, reordered, other_input, other_kind, swallowed])
async def test_changed_code_executes_nothing_more(lab: Lab, body: Body) -> None:
    _, handle = await asleep_with(lab, body)
    with pytest.raises(RunFailed):
        await handle.result(timeout=10)

    assert executed == []


async def test_a_run_that_failed_so_is_retried_once_the_code_is_mended(lab: Lab) -> None:
    broken, handle = await asleep_with(lab, inserted)
    with pytest.raises(RunFailed):
        await handle.result(timeout=10)
    await lab.stop(broken)
    mended = await lab.engine(registry=code(original))
    again = mended.handle(handle.run_id)

    await again.retry()

    assert await again.result(timeout=10) == "a0bc"
    assert executed == ["c"]


async def test_code_may_change_where_the_run_has_not_been(lab: Lab) -> None:
    async def improved() -> str:
        results = await a() + await b()
        await sleep(days=1)
        return results + await a(2) + await b() + await c()

    _, handle = await asleep_with(lab, improved)

    assert await handle.result(timeout=10) == "a0ba2bc"
    assert executed == ["a2", "b", "c"]


async def test_a_branch_that_calls_something_else_fails_the_run(lab: Lab) -> None:
    async def wide() -> list[Any]:
        results = await gather(a(1), b())
        await sleep(days=1)
        return results

    async def swapped() -> list[Any]:
        results = await gather(b(), a(1))
        await sleep(days=1)
        return results

    first = await lab.engine(registry=code(wide))
    handle = await first.start_run("changing")
    await parked(handle)
    await lab.crash(first)
    lab.clock.move(days=1)
    second = await lab.engine(registry=code(swapped))

    with pytest.raises(RunFailed, match=r"the journal holds 'g1\.\d/.#1' where the code calls 'g1\.\d/.#1'"):
        await second.handle(handle.run_id).result(timeout=10)


async def test_a_step_turned_into_a_child_of_the_same_name_is_noticed(lab: Lab) -> None:
    registry = Registry()

    @workflow(name="a", registry=registry)
    async def a_child() -> str:
        return "child"

    @workflow(name="changing", registry=registry)
    async def changing() -> str:
        return await a_child()

    first = await lab.engine(registry=code(original))
    handle = await first.start_run("changing")
    await parked(handle)
    await lab.crash(first)
    lab.clock.move(days=1)
    second = await lab.engine(registry=registry)

    with pytest.raises(RunFailed, match=r"the journal holds a step at 'a#1' where the code calls a child"):
        await second.handle(handle.run_id).result(timeout=10)
