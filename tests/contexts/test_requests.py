"""Answers kept for idempotency keys."""

import asyncio
from collections.abc import Callable

import pytest

from windlass.bootstrap import Application
from windlass.contexts.records import requests
from windlass.contexts.records.requests import RequestKey
from windlass.engine.ports import Transaction
from windlass.kernel.errors import Conflict


def key(digest: str, now: int, expires_at: int = 100, part: int = 0) -> RequestKey:
    """A request under one key."""
    return RequestKey("scope", "key", part, digest, now, expires_at)


def claim(request: RequestKey, answer: str) -> Callable[[Transaction], str | None]:
    """What claims a key in a transaction."""
    return lambda tx: requests.claim(tx, request, answer)


async def test_an_answer_is_kept_until_its_time_is_up(running: Application) -> None:
    engine = running.engine

    assert await engine.transact(claim(key("a", 1), '"first"')) is None
    assert await engine.transact(claim(key("a", 99), '"second"')) == '"first"'
    with pytest.raises(Conflict, match="used with another request"):
        await engine.transact(claim(key("b", 99), '"other"'))
    assert await engine.read(lambda connection: requests.look(connection, key("", 99))) == '"first"'

    assert await engine.read(lambda connection: requests.look(connection, key("", 100))) is None
    assert await engine.transact(claim(key("b", 100, 200), '"other"')) is None
    assert await engine.transact(claim(key("b", 150), '"x"')) == '"other"'


async def test_expired_answers_are_deleted_a_few_at_a_time(running: Application) -> None:
    engine = running.engine
    for part in range(5):
        await engine.transact(claim(key("a", 1, 10 + part, part), "1"))

    assert await engine.transact(lambda tx: requests.forget_expired(tx, 12, most=2)) == 2
    assert await engine.transact(lambda tx: requests.forget_expired(tx, 12)) == 1
    assert await engine.transact(lambda tx: requests.forget_expired(tx, 12)) == 0
    assert await engine.transact(claim(key("a", 12, part=3), "2")) == "1"


async def test_of_many_at_once_one_is_first(running: Application) -> None:
    answers = await asyncio.gather(*(running.engine.transact(claim(key("a", 1), f"{number}")) for number in range(10)))

    assert answers.count(None) == 1
    assert {answer for answer in answers if answer is not None} == {str(answers.index(None))}
