"""A crash, and an answer lost, at every single commit of every shape of workflow."""

import pytest

from tests.simulation.drill import SHAPES, drill
from windlass.testing.simulation.faults import BAD_FATES, Fate

MOST = 500


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
@pytest.mark.parametrize("fate", BAD_FATES, ids=lambda fate: fate.value.replace(" ", "-"))
@pytest.mark.parametrize("shape", SHAPES)
def test_whatever_becomes_of_a_commit_the_run_ends_rightly(shape: str, fate: Fate, backend: str) -> None:
    survived = 0
    while drill(shape, backend, fate, survived + 1):
        survived += 1
        assert survived < MOST

    assert survived >= 8
