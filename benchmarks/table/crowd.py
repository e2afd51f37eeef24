"""One tenant's start while another has 1,000,000 queued runs, against the same without them."""

from benchmarks.model import Benchmark, Goal, Ratio, times
from benchmarks.sides import DATABASES, side

_OURS = {store: side("windlass crowd", "crowd", "ms", store, 1_000_000, 200, rounds=3) for store in DATABASES}
_GOAL = Goal(2, 1.2, times, at_least=False)

BENCHMARK = Benchmark(
    name="crowd",
    title="1,000,000 queued runs of one tenant: the start of another's run (p50)",
    ratios=(
        *(Ratio(f"over the same beside 1,000, {store}", _OURS[store], None, _GOAL, part="over_few")
          for store in DATABASES),
        *(Ratio(f"over the same alone, {store}", _OURS[store], None, _GOAL, part="over_alone") for store in DATABASES),
    ),
)  # fmt: skip
