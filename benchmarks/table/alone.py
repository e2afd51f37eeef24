"""One workflow alone with many steps: what a step costs when nothing shares its commit."""

from benchmarks.model import Benchmark, Goal, Ratio, times
from benchmarks.sides import DATABASES, dbos, restate, side

_UNIT = "ms/step"
_OURS = {store: side("windlass", "alone", _UNIT, store, 1000, 20, at_a_time=1) for store in DATABASES}
_COMMIT = {store: side("bare", "commit", "ms", store, 1000, 20, at_a_time=1) for store in DATABASES}
_DBOS = {store: dbos("alone", _UNIT, store, 200) for store in DATABASES}
_GOAL = Goal(2, 1.4, times, at_least=False)

BENCHMARK = Benchmark(
    name="alone",
    title="one workflow alone: time per step",
    ratios=(
        *(Ratio(f"over one bare durable commit, {s}", _OURS[s], _COMMIT[s], _GOAL) for s in DATABASES),
        *(Ratio(f"DBOS over one bare durable commit, {s}", _DBOS[s], _COMMIT[s], None) for s in DATABASES),
    ),
    beside=(restate("alone", _UNIT, 200),),
)
