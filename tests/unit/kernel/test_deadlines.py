"""Deadlines: what ends at once, what waits, what is cancelled, what comes too late."""

from __future__ import annotations

import asyncio

import pytest

from windlass.kernel.deadlines import within


class Late(Exception):
    """It took too long."""


async def test_what_ends_at_once_is_returned_or_raised_and_sets_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer() -> int:
        return 42

    async def fail() -> int:
        raise KeyError("x")

    monkeypatch.setattr(asyncio, "timeout_at", None)
    assert await within(1, answer(), Late) == 42
    with pytest.raises(KeyError):
        await within(1, fail(), Late)


async def test_what_waits_goes_on_with_what_it_waited_for() -> None:
    loop = asyncio.get_running_loop()

    async def add() -> int:
        first: asyncio.Future[int] = loop.create_future()
        loop.call_soon(first.set_result, 1)
        await asyncio.sleep(0)
        found = await first
        second: asyncio.Future[int] = loop.create_future()
        loop.call_soon(second.set_exception, KeyError("gone"))
        try:
            await second
        except KeyError:
            found += 10
        return found

    assert await within(60, add(), Late) == 11
    done: asyncio.Future[int] = loop.create_future()
    loop.call_soon(done.set_result, 7)
    assert await within(60, asyncio.shield(done), Late) == 7


async def test_what_is_too_late_is_stopped_and_may_clean_up() -> None:
    cleaned = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("up")

    with pytest.raises(Late):
        await within(0.001, hang(), Late)
    assert cleaned == ["up"]


async def test_a_time_out_of_its_own_and_a_cancellation_are_no_lateness() -> None:
    async def own() -> None:
        await asyncio.sleep(0)
        raise TimeoutError("own")

    with pytest.raises(TimeoutError, match="own"):
        await within(60, own(), Late)

    seen = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    task = asyncio.create_task(within(60, hang(), Late))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]
