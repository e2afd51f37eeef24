"""Memory of sleeping runs: 100,000 of them against 1,000, per run."""

from benchmarks.model import Benchmark, Goal, Ratio, kilobytes
from benchmarks.sides import DATABASES, dbos, restate, side

_UNIT = "bytes/run"
_OURS = {store: side("windlass", "sleeping", _UNIT, store, 100_000, 200) for store in DATABASES}
_GOAL = Goal(300, 0, kilobytes, at_least=False)

BENCHMARK = Benchmark(
    name="sleeping",
    title="100,000 sleeping runs: memory per run beyond the first 1,000",
    ratios=tuple(Ratio(f"{store}", _OURS[store], None, _GOAL) for store in DATABASES),
    beside=(
        *(dbos("sleeping", _UNIT, store, 1000, rounds=1) for store in DATABASES),
        restate("sleeping", _UNIT, 2000, rounds=1),
    ),
)
