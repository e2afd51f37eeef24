"""A database with 1,000,000 records and finished runs, against an empty one."""

from benchmarks.model import Benchmark, Goal, Ratio, share
from benchmarks.sides import DATABASES, side

_OURS = {store: side("windlass grown", "grown", "req/s", store, 1_000_000, 200, rounds=1) for store in DATABASES}
_RATE = Goal(0.8, 0.95, share)
_FIGURES = (
    ("posts", "POST /records: rate", _RATE),
    ("runs", "1-step runs through HTTP: rate", _RATE),
    ("list", "GET /records: p95", Goal(1.25, 1.1, share, at_least=False)),
    ("summary", "GET /reports/summary: p95", Goal(2, 1.2, share, at_least=False)),
)

BENCHMARK = Benchmark(
    name="grown",
    title="1,000,000 records and finished runs against an empty database",
    ratios=tuple(
        Ratio(f"{title}, {store}", _OURS[store], None, goal, part=part)
        for part, title, goal in _FIGURES
        for store in DATABASES
    ),
)
