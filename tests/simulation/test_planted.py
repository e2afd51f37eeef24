"""The simulation finds bugs: each of these was planted, and is found within the seeds that the tests run."""

import pytest

from tests.simulation.checks import Violation
from tests.simulation.plants import PLANTS
from tests.simulation.scenario import simulate
from tests.simulation.test_seeds import MEMORY_SEEDS

RARE = {"no_fence": 270, "consume_early": 94, "deaf_to_copies": 33, "blind_trust": 7, "match_without_scopes": 8}
"""Which seed finds what few do, or finds it soonest: it is tried first, the others only when it no longer does."""


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_bug_is_found(plant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTS[plant](monkeypatch)

    with pytest.raises(Violation):
        _simulate_all(RARE.get(plant, 0))


def _simulate_all(first: int) -> None:
    for seed in (first, *range(MEMORY_SEEDS)):
        simulate(seed, "memory")
