"""Rounds of housekeeping: they go on whatever happens in one, say so once, and end when they are told to."""

import asyncio

from windlass.kernel.rounds import Rounds


async def test_rounds_go_on_after_failures_and_tell_of_the_first_of_each_row() -> None:
    over = asyncio.Event()
    outcomes = iter(["fine", "a", "b", "fine", "c", "d"])
    told: list[str] = []
    failing: list[bool] = []

    async def work() -> None:
        failing.append(rounds.failing)
        outcome = next(outcomes, None)
        if outcome is None:
            over.set()
            await asyncio.Event().wait()
        if outcome != "fine":
            raise ValueError(outcome)

    rounds = Rounds("t", work, lambda: 0.0, lambda error: told.append(str(error)))
    await rounds.stop()  # never started
    rounds.start()
    await over.wait()
    await rounds.stop()

    assert told == ["a", "c"]
    assert failing == [False, False, True, True, False, True, True]
