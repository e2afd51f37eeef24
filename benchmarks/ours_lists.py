"""Lists of a million runs of definitions, against lists of ten thousand; both servers are asked in turn."""

from __future__ import annotations

import os
import statistics

from benchmarks import load
from benchmarks.contender import Options, Outcome, Shape, main
from benchmarks.filling import fill_runs
from benchmarks.ours_definitions import RUNS, WITHOUT_LIMITS
from benchmarks.ours_grown import empty_database
from benchmarks.ours_http import asked, server
from windlass.storage.cursors import pack

_FEW_OF = 100
_ROUNDS = 10
"""The figure of a list is the median of theirs: the worst of all lists would be that of a busy moment otherwise."""
_TIMES = 20
_LARGE = 10_000
_MIDDLE = "2026-10-14T20:00:00Z"
"""Among the runs of either database: those of the first hours are in both."""
_CURSOR = {"order_by": "created_at", "order_desc": True, "last_ts": _MIDDLE, "last_id": "x"}
_OURS = f"{RUNS}/runs"
_LISTS = {
    "all": _OURS,
    "oldest": f"{_OURS}?order=asc",
    "status": f"{_OURS}?status=failed",
    "rare status": f"{_OURS}?status=cancelled",
    "two statuses": f"{_OURS}?status=failed&status=cancelled",
    "definition": f"{_OURS}?workflow_id=7",
    "rare definition": f"{_OURS}?workflow_id=41",
    "failed of a definition": f"{_OURS}?workflow_id=10&status=failed",
    "small owner": f"{_OURS}?owner=ann",
    "failed of a small owner": f"{_OURS}?owner=ann&status=failed",
    "definition of a small owner": f"{_OURS}?owner=ann&workflow_id=7",
    "failing": f"{_OURS}?failing=true",
    "attempt": f"{_OURS}?attempt_gte=3",
    "waiting": f"{_OURS}?waiting_on=waiting_approval",
    "waiting for a signal": f"{_OURS}?waiting_on=signal:paid",
    "waiting for nobody": f"{_OURS}?waiting_on=sleeping",
    "error": f"{_OURS}?error_class=webhook_failed",
    "rare error": f"{_OURS}?error_class=quota",
    "no such error": f"{_OURS}?error_class=nothing",
    "since": f"{_OURS}?created_after={_MIDDLE}",
    "until": f"{_OURS}?created_before={_MIDDLE}",
    "started": f"{_OURS}?order_by=started_at",
    "ended first": f"{_OURS}?order_by=ended_at&order=asc",
    "rare definition, started": f"{_OURS}?order_by=started_at&workflow_id=41",
    "rare status, ended": f"{_OURS}?order_by=ended_at&status=cancelled",
    "large page": f"{_OURS}?limit=200",
    "cursor": f"{_OURS}?cursor={pack(_CURSOR)}",
    "offset": f"{_OURS}?offset=5000",
    "engine's": "/runs",
    "engine's, status": "/runs?status=failed",
    "engine's, name": "/runs?name=report.daily",
    "engine's, queue": "/runs?queue=side",
    "engine's, no such queue": "/runs?queue=nothing",
    "engine's, children": "/runs?parent_run_id=parent",
    "engine's, error": "/runs?error_class=quota",
    "engine's, waiting": "/runs?waiting_on=child",
    "engine's, failing": "/runs?failing=true",
    "engine's, range": f"/runs?created_after={_MIDDLE}&created_before=2026-10-14T21:00:00Z",
    "engine's, cursor": f"/runs?cursor={pack([_MIDDLE, 'x'])}",
}


def _lists(options: Options) -> Outcome:
    """Milliseconds of a list, p95; the detail has that of each filter over the same at a hundredth of the runs."""
    os.environ.update(WITHOUT_LIMITS)
    fill_runs(options.database, options.size)
    with empty_database(options) as other:
        fill_runs(other, options.size // _FEW_OF)
        with server("windlass", options.database, options) as many, server("windlass", other, options) as few:
            found: dict[str, list[float]] = {}
            rounds, times = (_ROUNDS, _TIMES) if options.size >= _LARGE else (1, 2)
            for _ in range(rounds):
                for name, path in _LISTS.items():
                    for which, port in (("many", many), ("few", few)):
                        request = load.request_bytes(port, path, method="GET")
                        report = asked(port, [request] * times, 1, "200")
                        found.setdefault(f"{which} {name}", []).append(report.p95_ms)
    medians = {name: statistics.median(figures) for name, figures in found.items()}
    ratios = {name: medians[f"many {name}"] / medians[f"few {name}"] for name in _LISTS}
    detail: dict[str, object] = {
        "worst": max(ratios.values()),
        "median": statistics.median(ratios.values()),
        **ratios,
        **medians,
    }
    return Outcome(statistics.median(medians[f"many {name}"] for name in _LISTS), detail)


SHAPES: dict[str, Shape] = {"lists": _lists}

if __name__ == "__main__":
    main(SHAPES)
