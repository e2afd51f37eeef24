"""Open runs of a process killed with ``kill -9``: time until a new process has them all at work again."""

from benchmarks.model import Benchmark, Goal, Ratio, times
from benchmarks.sides import DATABASES, side

_OURS = {store: side("windlass crash", "recovery", "x", store, 10_000, 100) for store in DATABASES}
_GOAL = Goal(3, 1.5, times, at_least=False)

BENCHMARK = Benchmark(
    name="recovery",
    title="10,000 open runs recovered after kill -9: time over writing them",
    ratios=tuple(Ratio(store.value, _OURS[store], None, _GOAL) for store in DATABASES),
)
