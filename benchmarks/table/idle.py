"""An idle system: from submission to the answer of a 1-step workflow, one at a time."""

from benchmarks.model import Benchmark, Goal, Ratio, times
from benchmarks.sides import DATABASES, dbos, restate, side

_UNIT = "ms p50"
_OURS = {store: side("windlass", "idle", _UNIT, store, 300, 10, at_a_time=1) for store in DATABASES}
_HTTP = {store: side("windlass http", "idle", _UNIT, store, 300, 10, at_a_time=1) for store in DATABASES}
_COMMIT = {store: side("bare", "commit", "ms", store, 1000, 20, at_a_time=1) for store in DATABASES}
_DBOS = {store: dbos("idle", _UNIT, store, 100) for store in DATABASES}
_RESTATE = restate("idle", _UNIT, 100)
_GOAL = Goal(2.5, 1.8, times, at_least=False)

BENCHMARK = Benchmark(
    name="idle",
    title="idle system: submit to done of a 1-step workflow, p50",
    ratios=(
        *(Ratio(f"in process over two bare commits, {s}", _OURS[s], _COMMIT[s], _GOAL, 2) for s in DATABASES),
        *(Ratio(f"through HTTP over two bare commits, {s}", _HTTP[s], _COMMIT[s], None, 2) for s in DATABASES),
    ),
    beside=(*_DBOS.values(), _RESTATE),
)
