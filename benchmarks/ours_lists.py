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

_FEW_OF = 100
_ROUNDS = 5
_TIMES = 40
_LARGE = 10_000
_LISTS = {
    "all": "",
    "oldest": "?order=asc",
    "failed": "?status=failed",
    "definition": "?workflow_id=7",
    "failed of a definition": "?workflow_id=10&status=failed",
    "error": "?error_class=webhook_failed",
    "waiting": "?status=waiting_approval",
    "two statuses": "?status=failed&status=cancelled",
    "since": "?created_after=2026-10-16T00:00:00Z",
    "started": "?order_by=started_at",
    "large page": "?limit=200",
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
                for name, query in _LISTS.items():
                    for which, port in (("many", many), ("few", few)):
                        request = load.request_bytes(port, f"{RUNS}/runs{query}", method="GET")
                        report = asked(port, [request] * times, 1, "200")
                        found.setdefault(f"{which} {name}", []).append(report.p95_ms)
    medians = {name: statistics.median(figures) for name, figures in found.items()}
    ratios = {name: medians[f"many {name}"] / medians[f"few {name}"] for name in _LISTS}
    detail: dict[str, object] = {"worst": max(ratios.values()), "median": statistics.median(ratios.values()), **ratios}
    return Outcome(statistics.median(medians[f"many {name}"] for name in _LISTS), detail)


SHAPES: dict[str, Shape] = {"lists": _lists}

if __name__ == "__main__":
    main(SHAPES)
