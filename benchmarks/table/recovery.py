"""Open runs of a process killed with ``kill -9``: time until a new process has them all at work again."""

from benchmarks.model import Benchmark, Goal, Ratio, times
from benchmarks.sides import DATABASES, side

_OURS = {store: side("windlass", "recovery", "s", store, 10_000, 100, rounds=3) for store in DATABASES}
_WRITTEN = {store: side("windlass", "writing", "s", store, 10_000, 100, rounds=3) for store in DATABASES}
_GOAL = Goal(3, 1.5, times, at_least=False)

BENCHMARK = Benchmark(
    name="recovery",
    title="10,000 open runs recovered after kill -9: time",
    ratios=tuple(Ratio(f"over writing them, {s}", _OURS[s], _WRITTEN[s], _GOAL) for s in DATABASES),
)
