"""Whatever becomes of a call of billing or of a commit: one provider, and a candidate that agrees with it."""

from __future__ import annotations

import pytest

from tests.simulation.approvals import BAD, NATURES, Nature, drill, simulate
from tests.simulation.checks import Violation
from tests.simulation.postgres_site import on_postgres
from tests.support.billing import Fate
from windlass.contexts.providers.tasks import Saga
from windlass.testing.simulation.faults import BAD_FATES
from windlass.testing.simulation.faults import Fate as CommitFate

MOST = 300
SEEDS = 100
FINDS = 40
"""The seed that finds the planted bug: it is tried first, and the others only when it no longer does."""
SQLITE_SEEDS = 6
POSTGRES_SEEDS = 3
CASES = [(NATURES[0], []), (NATURES[2], [Fate.AFTER]), (NATURES[2], [Fate.AFTER] * 4)]


@pytest.mark.parametrize("nature", NATURES, ids=str)
def test_every_fate_of_every_call(nature: Nature) -> None:
    for fate in BAD:
        for place in range(4):
            drill(nature, "memory", [*[Fate.BEFORE] * place, fate])
        drill(nature, "memory", [fate] * 6)


@pytest.mark.parametrize("nature, script", CASES, ids=["no-fault", "lost", "given-up"])
@pytest.mark.parametrize("fate", BAD_FATES, ids=lambda fate: fate.value.replace(" ", "-"))
def test_every_fate_of_every_commit(nature: Nature, script: list[Fate], fate: CommitFate) -> None:
    survived = 0
    while drill(nature, "memory", script, fate, survived + 1):
        survived += 1
        assert survived < MOST

    assert survived >= 8


@pytest.mark.parametrize("fate", BAD_FATES, ids=lambda fate: fate.value.replace(" ", "-"))
def test_a_call_that_landed_while_its_process_died_is_not_forgotten(fate: CommitFate) -> None:
    survived = 0
    while drill(NATURES[0], "memory", [Fate.WELL, *[Fate.UNREACHED] * 12], fate, survived + 1, once=True):
        survived += 1
        assert survived < MOST

    assert survived >= 8


@pytest.mark.parametrize("first, fate", list(enumerate(BAD_FATES)), ids=str)
def test_what_is_given_up_while_it_waits_ends_well(first: int, fate: CommitFate) -> None:
    commit = 1 + first % 3
    while drill(NATURES[0], "memory", [Fate.UNREACHED] * 7, fate, commit, giving_up=True):
        commit += 3
        assert commit < MOST
    drill(NATURES[0], "memory", [Fate.LATE, *[Fate.ERROR] * 6], fate, 20, giving_up=True)

    assert commit > 20


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_administrators_who_disagree_while_everything_fails(first: int) -> None:
    for seed in range(first, first + 20):
        simulate(seed, "memory")


def test_the_same_on_sqlite() -> None:
    for seed in range(SQLITE_SEEDS):
        simulate(seed, "sqlite")
    assert drill(NATURES[2], "sqlite", [Fate.AFTER], BAD_FATES[1], 6)


def test_the_same_on_postgres(migrated_pg_dsn: str) -> None:
    for seed in range(POSTGRES_SEEDS):
        simulate(seed, on_postgres(migrated_pg_dsn))


def test_a_provider_that_is_only_guessed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Saga, "_judge", lambda _self, _tx, *_asked: {"why": ""})

    with pytest.raises(Violation):
        _all_of_them()


def _all_of_them() -> None:
    for seed in (FINDS, *range(SEEDS)):
        simulate(seed, "memory")
