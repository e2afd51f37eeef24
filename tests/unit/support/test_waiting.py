"""The polling helpers report what they waited for and hand errors through."""

import pytest

from tests.support.waiting import ConditionNotMet, wait_until, wait_until_async


def test_returns_the_first_true_value() -> None:
    answers = iter([0, "", "ready"])

    assert wait_until(lambda: next(answers)) == "ready"


def test_the_error_names_the_condition_and_the_last_value() -> None:
    with pytest.raises(ConditionNotMet, match=r"three rows did not hold .* last seen: \[\]"):
        wait_until(list, timeout=0, what="three rows")


def test_an_error_of_the_condition_ends_the_wait() -> None:
    def broken() -> bool:
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        wait_until(broken)


async def test_async_takes_plain_and_coroutine_conditions() -> None:
    answers = iter([False, True])

    async def later() -> bool:
        return next(answers)

    assert await wait_until_async(later) is True
    assert await wait_until_async(lambda: "now") == "now"


async def test_async_gives_up() -> None:
    async def never() -> bool:
        return False

    with pytest.raises(ConditionNotMet, match="never did not hold"):
        await wait_until_async(never, timeout=0)
