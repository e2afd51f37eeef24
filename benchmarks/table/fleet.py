"""Several workers on one PostgreSQL, all on this machine, against one of them."""

from benchmarks.model import Benchmark, Goal, Ratio, Store, times
from benchmarks.sides import side

_OF = {
    count: side("windlass fleet", count, "steps/s", Store.POSTGRES, 10_000, 20, rounds=3)
    for count in ("one", "two", "four")
}

BENCHMARK = Benchmark(
    name="fleet",
    title="a fleet on one PostgreSQL, 10-step no-op workflows that wait in a queue: steps/s",
    ratios=(
        Ratio("two workers over one", _OF["two"], _OF["one"], Goal(1, 1.5, times)),
        Ratio("four workers over one", _OF["four"], _OF["one"], Goal(1, 2, times)),
    ),
)
