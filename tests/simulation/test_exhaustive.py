"""A crash, and an answer lost, at every single commit of every shape of workflow."""

import pytest

from tests.simulation.drill import SHAPES, drill
from windlass.testing.simulation.faults import BAD_FATES, Fate

MOST = 500
IN_TURN = {"crash": (Fate.CRASH_AFTER, Fate.CRASH_BEFORE), "answer-lost": (Fate.LOST_BEFORE, Fate.LOST_AFTER)}
"""Fates that commits meet in turn: each a crash and a lost answer, and of these one with the commit on disk."""


def survive(shape: str, backend: str, *fates: Fate) -> None:
    survived = 0
    while drill(shape, backend, fates[survived % len(fates)], survived + 1):
        survived += 1
        assert survived < MOST

    assert survived >= 8


@pytest.mark.parametrize("fate", BAD_FATES, ids=lambda fate: fate.value.replace(" ", "-"))
@pytest.mark.parametrize("shape", SHAPES)
def test_whatever_becomes_of_a_commit_the_run_ends_rightly(shape: str, fate: Fate) -> None:
    survive(shape, "memory", fate)


@pytest.mark.parametrize("kind", IN_TURN)
@pytest.mark.parametrize("shape", SHAPES)
def test_on_sqlite_a_run_ends_rightly_whether_a_commit_is_on_disk_or_not(shape: str, kind: str) -> None:
    survive(shape, "sqlite", *IN_TURN[kind])
