"""Replay of a recorded journal against other code: how far it follows, where it waits, why it does not fit."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from tests.engine.lab import Lab
from tests.support.waiting import wait_until_async
from windlass import gather, now, random, signal, sleep, step, uuid, workflow
from windlass.engine.registry import Definition, Registry
from windlass.engine.types import Event, Status
from windlass.kernel.errors import Invalid
from windlass.replay.api import Outcome, replay

called: list[str] = []


@step
async def replay_a(value: int) -> int:
    called.append("a")
    return value + 1


@step
def replay_b(value: int) -> int:
    called.append("b")
    if value > 100:
        raise ValueError("too much")
    return value * 2


async def recorded(lab: Lab, fn: Callable[..., Any], *args: Any, ended: bool = True) -> tuple[str, list[Event]]:
    """Live through a workflow and return its inputs and its journal."""
    called.clear()
    registry = Registry()
    definition = workflow(name="order", registry=registry)(fn)
    engine = await lab.engine(registry=registry)
    handle = await engine.start_run(definition, *args)
    if ended:
        await asyncio.wait([asyncio.ensure_future(handle.result(timeout=20))])
    else:

        async def waits() -> bool:
            return (await handle.status()).wait_reason is not None

        await wait_until_async(waits)
    inputs = orjson.dumps((await handle.status()).inputs).decode()
    events = await engine.events(handle.run_id)
    await lab.stop(engine)
    called.clear()
    return inputs, events


def order(fn: Callable[..., Any]) -> Definition:
    return workflow(name="order", registry=Registry())(fn)


async def everything(value: int) -> list[Any]:
    first = await replay_a(value)
    both = await gather(replay_a(first), replay_b(first))
    said = [now().isoformat(), str(uuid()), random()]
    await sleep(0.01)
    return [*both, *said]


async def waiting(value: int) -> int:
    first = await replay_a(value)
    await signal("go", timeout=3600)
    return await replay_b(first)


async def test_the_same_code_ends_as_the_journal_does_and_no_step_is_called(lab: Lab) -> None:
    inputs, events = await recorded(lab, everything, 1)

    done = replay(order(everything), inputs, events)

    assert (done.outcome, done.status, done.open, done.strands) == (Outcome.ENDS, Status.SUCCEEDED, False, False)
    assert orjson.loads(done.outputs or "")[:2] == [3, 4]
    assert called == []
    again = replay(order(everything), inputs, events, outputs="[9]")
    assert again.outcome is Outcome.DIVERGED
    assert "the run returned [9]" in again.reason


async def test_every_open_part_of_a_journal_replays_to_where_it_waits(lab: Lab) -> None:
    inputs, events = await recorded(lab, everything, 1)

    found = [replay(order(everything), inputs, events[:length]) for length in range(1, len(events))]

    assert {(each.outcome, each.strands) for each in found[:-1]} == {(Outcome.WAITS, False)}
    assert found[0].waits == ("replay_a#1",)
    assert {"g1.0/replay_a#1", "g1.1/replay_b#1"} <= {path for each in found for path in each.waits}
    assert called == []


async def test_a_run_that_waits_can_go_on_with_code_that_differs_behind_it(lab: Lab) -> None:
    inputs, events = await recorded(lab, waiting, 1, ended=False)

    async def longer(value: int) -> int:
        first = await replay_a(value)
        await signal("go", timeout=3600)
        return await replay_b(await replay_a(first))

    assert replay(order(longer), inputs, events).waits == ("signal:go#1",)


async def other_name(value: int) -> int:
    first = await replay_b(value)
    await signal("go", timeout=3600)
    return first


async def other_input(value: int) -> int:
    first = await replay_a(value + 1)
    await signal("go", timeout=3600)
    return first


async def call_before(value: int) -> int:
    await sleep(1)
    return await waiting(value)


async def call_left_out(value: int) -> int:
    return value


async def other_order(value: int) -> int:
    await signal("go", timeout=3600)
    return await replay_a(value)


async def other_arguments(amount: int) -> int:
    return await replay_a(amount)


async def raises(value: int) -> int:
    await replay_a(value)
    raise KeyError(value)


async def swallows(value: int) -> int:
    try:
        return await replay_b(value)
    except BaseException:  # noqa: BLE001  what must not help
        return await replay_a(value)


@pytest.mark.parametrize(
    "code,reason",
    [
        (other_name, "the journal holds 'replay_a#1' where the code calls 'replay_b#1'"),
        (other_input, "step 'replay_a#1' is called with another input"),
        (call_before, "the journal holds 'replay_a#1' where the code calls 'sleep#1'"),
        (call_left_out, "the journal holds 'replay_a#1', which the code never calls"),
        (other_order, "the journal holds 'replay_a#1' where the code calls 'signal:go#1'"),
        (other_arguments, "input of order"),
        (raises, "the journal holds 'signal:go#1', which the code does not come to: the code ends as failed"),
        (swallows, "the journal holds 'replay_a#1' where the code calls 'replay_b#1'"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_code_that_does_not_follow_is_told_where(lab: Lab, code: Callable[..., Any], reason: str) -> None:
    inputs, events = await recorded(lab, waiting, 1, ended=False)

    found = replay(order(code), inputs, events)

    assert (found.outcome, found.strands) == (Outcome.DIVERGED, True)
    assert reason in found.reason
    assert called == []


async def test_a_branch_that_is_gone_is_missed(lab: Lab) -> None:
    inputs, events = await recorded(lab, everything, 1)

    async def fewer(value: int) -> list[Any]:
        first = await replay_a(value)
        both = await gather(replay_a(first))
        await sleep(1)
        return both

    values = next(event.seq for event in events if event.step_id == "now#1")
    found = replay(order(fewer), inputs, events[: values - 1])

    assert found.outcome is Outcome.DIVERGED
    assert "'g1.1/replay_b#1', which the code does not come to" in found.reason


async def failing(value: int) -> list[int]:
    first = await replay_a(value)
    return await gather(waiting_branch(first), replay_b(first))


async def waiting_branch(value: int) -> int:
    await replay_a(value)
    await sleep(3600)
    return await replay_a(value)


async def test_a_failed_run_is_compared_with_how_the_code_fails_now(lab: Lab) -> None:
    inputs, events = await recorded(lab, failing, 1000)
    assert events[-1].type == "run_failed"

    same = replay(order(failing), inputs, events)
    still_open = replay(order(failing), inputs, events[:-1])

    async def caught(value: int) -> list[int]:
        try:
            return await failing(value)
        except Exception:  # noqa: BLE001  whatever it was
            return []

    assert (same.outcome, same.status, same.strands) == (Outcome.ENDS, Status.FAILED, False)
    assert (still_open.status, still_open.failed_steps, still_open.strands) == (
        Status.FAILED, ("g1.1/replay_b#1",), False,
    )  # fmt: skip
    other = replay(order(caught), inputs, events)
    assert (other.outcome, other.reason) == (
        Outcome.DIVERGED, "the journal ends as failed, and now it ends as succeeded",
    )  # fmt: skip


def test_nothing_is_said_of_half_a_journal() -> None:
    events = [Event("r", 2, "step_completed", "replay_a#1", "{}", 0)]

    with pytest.raises(Invalid, match="not whole"):
        replay(order(waiting), "{}", events)
