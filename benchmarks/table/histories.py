"""Runs with a long journal: from the moment a new engine may take one to its next step."""

from benchmarks.model import Benchmark, Goal, Ratio
from benchmarks.sides import DATABASES, side

_CONTINUED = {s: side("windlass histories", "continued", "s", s, 1_000_000, 3000, at_a_time=1) for s in DATABASES}
_WHOLE = {s: side("windlass histories", "whole", "s", s, 200_000, 200, at_a_time=1) for s in DATABASES}


def _seconds(value: float) -> str:
    return f"{value:.2g} s"


def _events(value: float) -> str:
    return f"{value:,.0f}/s"


_RATE = Goal(100_000, 130_000, _events)

BENCHMARK = Benchmark(
    name="histories",
    title="long histories: a run's next step in a new engine",
    ratios=(
        *(
            Ratio(f"after 1,000,000 events, with checkpoints, {s}", _CONTINUED[s], None, Goal(2, 0.2, _seconds, False))
            for s in DATABASES
        ),
        *(Ratio(f"events replayed without, {s}", _WHOLE[s], None, _RATE, part="rate") for s in DATABASES),
        *(
            Ratio(f"the same per second of the processor, {s}", _WHOLE[s], None, _RATE, part="processor_rate")
            for s in DATABASES
        ),
    ),
)
