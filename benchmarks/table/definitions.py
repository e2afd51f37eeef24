"""Workflows written as documents: what interpreting them costs, and how fast their events are told."""

from benchmarks.model import Benchmark, Goal, Ratio, share, times
from benchmarks.sides import DATABASES, side

_UNIT = "steps/s"
_WRITTEN = {s: side("windlass documents", "logs-definition", _UNIT, s, 600, 20) for s in DATABASES}
_PYTHON = {s: side("windlass documents", "logs-python", _UNIT, s, 600, 20) for s in DATABASES}
_HTTP = {s: side("windlass documents", "five-logs", _UNIT, s, 1000, 20, at_a_time=64) for s in DATABASES}
_TEN = {s: side("windlass", "ten-steps", _UNIT, s, 600, 10) for s in DATABASES}
_STREAM = {s: side("windlass documents", "stream", "ms", s, 20, 5, at_a_time=1) for s in DATABASES}
_STREAMS = {s: side("windlass documents", "streams", "ms", s, 1000, 50, at_a_time=1, rounds=2) for s in DATABASES}
_COMMIT = {s: side("bare", "commit", "ms", s, 1000, 20, at_a_time=1) for s in DATABASES}
_HEARD = Goal(4, 2, times, at_least=False)
"""The commit of the event itself, and three more until it is heard."""
_TOLD = Goal(3, 1, times, at_least=False)
"""Without it."""

BENCHMARK = Benchmark(
    name="definitions",
    title="definitions",
    ratios=(
        *(
            Ratio(f"ten log steps over the same in Python, {s}", _WRITTEN[s], _PYTHON[s], Goal(0.5, 0.8, share))
            for s in DATABASES
        ),
        *(
            Ratio(f"five log steps, 64 HTTP clients, over no-op steps in process, {s}", _HTTP[s], _TEN[s], None)
            for s in DATABASES
        ),
        *(
            Ratio(f"from a step's end to the client over one bare commit, {s}", _STREAM[s], _COMMIT[s], _HEARD)
            for s in DATABASES
        ),
        *(
            Ratio(
                f"from its commit to the client over one bare commit, {s}",
                _STREAM[s],
                _COMMIT[s],
                _TOLD,
                part="from_commit_ms",
            )
            for s in DATABASES
        ),
    ),
    beside=tuple(_STREAMS.values()),
)
