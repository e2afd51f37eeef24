"""10-step no-op workflows, 100 at a time."""

from benchmarks.model import Benchmark, Goal, Ratio, Store, share, times
from benchmarks.sides import DATABASES, dbos, restate, side

_UNIT = "steps/s"
_OURS = {store: side("windlass", "ten-steps", _UNIT, store, 3000, 20) for store in DATABASES}
_HTTP = {store: side("windlass http", "ten-steps", _UNIT, store, 1500, 20) for store in DATABASES}
_BARE = {store: side("bare", "ten-steps", _UNIT, store, 3000, 100) for store in DATABASES}
_DBOS = {store: dbos("ten-steps", _UNIT, store, 200) for store in DATABASES}
_RESTATE = restate("ten-steps", _UNIT, 600)
_OVER_DBOS = {Store.SQLITE: Goal(25, 50, times), Store.POSTGRES: Goal(20, 40, times)}

BENCHMARK = Benchmark(
    name="ten-steps",
    title="10-step no-op workflows, 100 at a time: steps/s",
    ratios=(
        *(Ratio(f"over DBOS on {s}", _OURS[s], _DBOS[s], _OVER_DBOS[s]) for s in DATABASES),
        *(Ratio(f"through HTTP over Restate, {s}", _HTTP[s], _RESTATE, Goal(4, 7, times)) for s in DATABASES),
        *(Ratio(f"over the bare limit, {s}", _OURS[s], _BARE[s], Goal(0.35, 0.55, share)) for s in DATABASES),
    ),
)
