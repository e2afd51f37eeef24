"""Lists of runs with filters: 1,000,000 runs of definitions against 10,000."""

from benchmarks.model import Benchmark, Goal, Ratio, share
from benchmarks.sides import DATABASES, side

_OURS = {store: side("windlass lists", "lists", "ms", store, 1_000_000, 400, rounds=1) for store in DATABASES}

BENCHMARK = Benchmark(
    name="run-lists",
    title="1,000,000 runs of definitions against 10,000: GET /api/v1/workflows/runs",
    ratios=tuple(
        Ratio(
            f"p95 of the worst filter, {store}", _OURS[store], None, Goal(1.5, 1.1, share, at_least=False), part="worst"
        )
        for store in DATABASES
    ),
)
