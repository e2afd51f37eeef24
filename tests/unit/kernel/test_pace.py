"""When a process of a fleet looks for what all of them have heard of."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from windlass.kernel.pace import LATEST_TURN, Pace

Later = list[tuple[float, Callable[[], None]]]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """What an event loop, of which only that is there, has been told to do later."""
    told: Later = []

    def call_later(pause: float, call: Callable[..., None], *given: object) -> object:
        told.append((pause, lambda: call(*given)))
        return told

    loop = SimpleNamespace(call_later=call_later)
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    return told


def ring(fleet: int, took: float, dice: float, did: list[str]) -> Pace:
    """Ring once for a process of a fleet."""
    pace = Pace(lease_seconds=10)
    pace.fleet, pace.took = fleet, took
    pace.take_turn(lambda: did.append("claim"), lambda: did.append("look"), lambda: dice)
    return pace


def test_of_two_each_claims_at_once(later: Later) -> None:
    did: list[str] = []
    ring(2, 0.001, 0.5, did)
    assert (did, later) == (["claim"], [])


@pytest.mark.parametrize(
    "fleet, took, window",
    [(20, 0.001, 0.1), (20, 0.02, 0.4), (40, 0.001, 0.2), (30, 0.015, 0.45), (40, 0.5, LATEST_TURN)],
)
def test_of_many_each_looks_at_a_time_of_its_own_further_apart_where_a_look_takes_longer(
    fleet: int, took: float, window: float, later: Later
) -> None:
    for dice in (0.0, 0.5, 1.0):
        ring(fleet, took, dice, [])
    assert [pause for pause, _ in later] == pytest.approx([0, window / 2, window])


def test_who_is_to_look_anyway_does_so_once_however_often_it_hears(later: Later) -> None:
    did: list[str] = []
    pace = ring(20, 0.001, 0.5, did)
    pace.take_turn(lambda: did.append("claim"), lambda: did.append("look"), lambda: 0.5)
    [(_, turn)] = later
    assert did == []

    turn()
    assert did == ["look"]
    pace.take_turn(lambda: did.append("claim"), lambda: did.append("look"), lambda: 0.5)
    assert len(later) == 2
