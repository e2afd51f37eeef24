"""Processes apart: how soon a worker begins what another process starts, and what writers on one file wait for."""

from benchmarks.model import Benchmark, Goal, Ratio, Store, times
from benchmarks.sides import DATABASES, side

_START = {store: side("windlass apart", "start", "ms p50", store, 300, 10, at_a_time=1) for store in DATABASES}
_COMMIT = {store: side("bare", "commit", "ms", store, 1000, 20, at_a_time=1) for store in DATABASES}
_SHARING = side("windlass apart", "sharing", "ms", Store.SQLITE, 8000, 50)


def _milliseconds(value: float) -> str:
    return f"{value:.0f} ms"


def _megabytes(value: float) -> str:
    return f"{value:.0f} MB"


BENCHMARK = Benchmark(
    name="apart",
    title="processes apart",
    ratios=(
        *(
            Ratio(
                f"from a start to its first line in a worker's process, over one bare durable commit, {s}",
                _START[s],
                _COMMIT[s],
                Goal(20, 10, times, at_least=False),
            )
            for s in DATABASES
        ),
        Ratio(
            "a writer to a SQLite file to which two others write at full load: its longest wait",
            _SHARING,
            None,
            Goal(250, 100, _milliseconds, at_least=False),
        ),
        Ratio("the same: the WAL at its largest", _SHARING, None, Goal(64, 32, _megabytes, False), part="wal_peak"),
    ),
)
