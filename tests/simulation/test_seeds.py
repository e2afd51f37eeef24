"""Some two hundred histories in which everything that can go wrong does, and every promise is kept.

A seed that fails here replays exactly: ``python -m tests.simulation --backend memory --seed N --trace``.
"""

import os
import subprocess
import sys

import pytest

from tests.simulation.postgres_site import on_postgres
from tests.simulation.scenario import simulate
from tests.support.paths import ROOT

BLOCK = 10
MEMORY_SEEDS = 150
SQLITE_SEEDS = 30
POSTGRES_SEEDS = 10

DIGESTS = """
import hashlib
from tests.simulation.scenario import simulate
for backend in ("memory", "sqlite"):
    for seed in range(3):
        lines = simulate(seed, backend, keep_trace=True).lines
        print(backend, seed, len(lines), hashlib.sha256("\\n".join(lines).encode()).hexdigest())
"""


@pytest.mark.parametrize("first", range(0, MEMORY_SEEDS, BLOCK))
def test_every_promise_is_kept_in_memory(first: int) -> None:
    for seed in range(first, first + BLOCK):
        simulate(seed, "memory")


@pytest.mark.parametrize("first", range(0, SQLITE_SEEDS, BLOCK))
def test_every_promise_is_kept_on_sqlite(first: int) -> None:
    for seed in range(first, first + BLOCK):
        simulate(seed, "sqlite")


@pytest.mark.parametrize("first", range(0, POSTGRES_SEEDS, BLOCK))
def test_every_promise_is_kept_on_postgres(first: int, migrated_pg_dsn: str) -> None:
    for seed in range(first, first + BLOCK):
        simulate(seed, on_postgres(migrated_pg_dsn))


def _digests(hash_seed: str) -> str:
    """Return the digests of some histories, lived through in a process of their own."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", DIGESTS], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_seed_replays_exactly_in_any_process() -> None:
    first, second = _digests("1"), _digests("2")

    assert first.count("\n") == 6
    assert first == second


def test_seeds_differ() -> None:
    assert simulate(1, "memory", keep_trace=True).lines != simulate(2, "memory", keep_trace=True).lines
