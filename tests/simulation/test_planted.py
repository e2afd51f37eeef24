"""The simulation finds bugs: each of these was planted, and is found within the seeds that the tests run."""

import pytest

from tests.simulation.checks import Violation
from tests.simulation.plants import PLANTS
from tests.simulation.scenario import simulate
from tests.simulation.test_seeds import MEMORY_SEEDS


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_bug_is_found(plant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTS[plant](monkeypatch)

    with pytest.raises(Violation):
        _simulate_all()


def _simulate_all() -> None:
    for seed in range(MEMORY_SEEDS):
        simulate(seed, "memory")
