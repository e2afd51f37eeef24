"""64 clients approve candidates while billing fails one call in five and the worker is killed twice."""

from benchmarks.model import Benchmark, Goal, Ratio
from benchmarks.sides import DATABASES, side

_OURS = {s: side("windlass approvals", "approve", "approvals/s", s, 2000, 40, at_a_time=64) for s in DATABASES}


def _rate(value: float) -> str:
    return f"{value:.0f}/s"


def _count(value: float) -> str:
    return f"{value:.0f}"


def _milliseconds(value: float) -> str:
    return f"{value:,.0f} ms"


_MEDIAN, _P95 = Goal(1000, 500, _milliseconds, False), Goal(5000, 3000, _milliseconds, False)

BENCHMARK = Benchmark(
    name="approvals",
    title="2,000 approvals by 64 clients; billing fails one call in five, the worker is killed twice",
    ratios=(
        *(Ratio(f"approvals, {s}", _OURS[s], None, Goal(50, 100, _rate)) for s in DATABASES),
        *(Ratio(f"one approval, median, {s}", _OURS[s], None, _MEDIAN, part="p50_ms") for s in DATABASES),
        *(Ratio(f"one approval, p95, {s}", _OURS[s], None, _P95, part="p95_ms") for s in DATABASES),
        *(
            Ratio(f"providers missing or there twice, {s}", _OURS[s], None, Goal(0, 0, _count, False), part="wrong")
            for s in DATABASES
        ),
    ),
)
