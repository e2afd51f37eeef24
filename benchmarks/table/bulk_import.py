"""Bulk import over HTTP, against bare ``executemany`` of the same rows into the same tables and indexes."""

from benchmarks.model import Benchmark, Goal, Ratio, share
from benchmarks.sides import DATABASES, side

_UNIT = "records/s"
_OURS = {store: side("windlass http", "bulk", _UNIT, store, 40_000, 200) for store in DATABASES}
_BARE = {store: side("bare", "records", _UNIT, store, 40_000, 200) for store in DATABASES}

BENCHMARK = Benchmark(
    name="bulk-import",
    title="bulk import over HTTP: records/s",
    ratios=tuple(Ratio(f"over bare executemany, {s}", _OURS[s], _BARE[s], Goal(0.15, 0.25, share)) for s in DATABASES),
)
