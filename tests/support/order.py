"""In which order tests run: what waits and what computes for long comes first, and at the same time."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

WAITING = (
    "tests/faults/",
    "tests/docs/test_pages.py",
    "tests/acceptance/",
    "tests/deploy/",
    "tests/kit/",
    "tests/engine/test_executors.py",
    "tests/http/test_workers.py",
)
COMPUTING = (
    "tests/simulation/",
    "tests/acceptance/test_benchmarks.py",
    "tests/http/test_schemathesis.py",
    "tests/storage/test_twins.py",
    "tests/engine/test_continuing.py",
)


def in_order(tests: Sequence[T], workers: int, name: Callable[[T], str]) -> list[T]:
    """Return tests so that, of several workers with equal shares, the first begins with what waits, the next computes.

    Processors have so something to do while tests wait, and nothing that takes long is left for the end.
    """
    waiting: list[T] = []
    computing: list[T] = []
    others: list[T] = []
    for test in tests:
        path = name(test)
        kind = computing if path.startswith(COMPUTING) else waiting if path.startswith(WAITING) else others
        kind.append(test)
    first = max(0, len(tests) // workers - len(waiting)) if workers > 1 else 0
    return [*waiting, *others[:first], *computing, *others[first:]]
