"""Tests that take long begin early, and those that wait beside those that compute."""

from tests.support.order import in_order


def test_of_three_workers_one_begins_with_what_waits_and_one_with_what_computes() -> None:
    short = [f"tests/unit/test_{number}.py" for number in range(6)]
    waits = ["tests/faults/test_fleet.py", "tests/acceptance/test_move.py"]
    computes = ["tests/simulation/test_seeds.py", "tests/acceptance/test_benchmarks.py"]
    tests = sorted([*short, *waits, *computes])

    assert in_order(tests, 3, str) == [*sorted(waits), short[0], *sorted(computes), *short[1:]]
    assert in_order(tests, 1, str) == [*sorted(waits), *sorted(computes), *short]
