"""1-step workflows, 100 at a time."""

from benchmarks.model import Benchmark, Goal, Ratio, times
from benchmarks.sides import DATABASES, dbos, restate, side

_UNIT = "workflows/s"
_OURS = {store: side("windlass", "one-step", _UNIT, store, 8000, 20) for store in DATABASES}
_HTTP = {store: side("windlass http", "one-step", _UNIT, store, 4000, 20) for store in DATABASES}
_BARE = {store: side("bare", "one-step", _UNIT, store, 8000, 100) for store in DATABASES}
_DBOS = {store: dbos("one-step", _UNIT, store, 500) for store in DATABASES}
_RESTATE = restate("one-step", _UNIT, 2000)

BENCHMARK = Benchmark(
    name="one-step",
    title="1-step workflows, 100 at a time: workflows/s",
    ratios=(
        *(Ratio(f"over DBOS on {s}", _OURS[s], _DBOS[s], Goal(20, 40, times)) for s in DATABASES),
        *(Ratio(f"through HTTP over Restate, {s}", _HTTP[s], _RESTATE, Goal(2, 3, times)) for s in DATABASES),
        *(Ratio(f"over the bare limit, {s}", _OURS[s], _BARE[s], None) for s in DATABASES),
    ),
)
