"""``POST /records`` from 64 connections: against the same route without storing, and against a session per request."""

from benchmarks.model import Benchmark, Goal, Ratio, share, times
from benchmarks.sides import DATABASES, side

_UNIT = "req/s"
_AT_ONCE = 64
_OURS = {s: side("windlass http", "post-record", _UNIT, s, 12_000, 100, at_a_time=_AT_ONCE) for s in DATABASES}
_NOTHING = {s: side("windlass http", "post-nothing", _UNIT, s, 12_000, 100, at_a_time=_AT_ONCE) for s in DATABASES}
_SESSION = {s: side("session", "post-session", _UNIT, s, 1500, 50, at_a_time=_AT_ONCE) for s in DATABASES}

BENCHMARK = Benchmark(
    name="post-records",
    title="POST /records, 64 connections: req/s",
    ratios=(
        *(
            Ratio(f"over the route that stores nothing, {s}", _OURS[s], _NOTHING[s], Goal(0.6, 0.75, share))
            for s in DATABASES
        ),
        *(
            Ratio(f"over a session and a commit per request, {s}", _OURS[s], _SESSION[s], Goal(5, 8, times))
            for s in DATABASES
        ),
    ),
)
