"""One parent that starts 1,000 child runs of one step and waits for all of them."""

from benchmarks.model import Benchmark, Goal, Ratio, fraction
from benchmarks.sides import DATABASES, dbos, restate, side

_UNIT = "s"
_OURS = {store: side("windlass", "children", _UNIT, store, 1000, 20) for store in DATABASES}
_HTTP = {store: side("windlass http", "children", _UNIT, store, 1000, 20) for store in DATABASES}
_DBOS = {store: dbos("children", _UNIT, store, 1000) for store in DATABASES}
_RESTATE = restate("children", _UNIT, 1000)
_OVER_DBOS = Goal(1 / 40, 1 / 80, fraction, at_least=False)
_OVER_RESTATE = Goal(1 / 3, 1 / 6, fraction, at_least=False)

BENCHMARK = Benchmark(
    name="children",
    title="one parent with 1,000 child runs: time",
    ratios=(
        *(Ratio(f"over DBOS on {s}", _OURS[s], _DBOS[s], _OVER_DBOS) for s in DATABASES),
        *(Ratio(f"through HTTP over Restate, {s}", _HTTP[s], _RESTATE, _OVER_RESTATE) for s in DATABASES),
    ),
)
