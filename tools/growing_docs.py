"""Quote the measured figures of `benchmarks/results.json` in `docs/growing.md`.

`python -m tools.growing_docs` writes what stands between its two marks; a test fails when it is out of date.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tools.readme_speed import BEGIN, END, ROOT, between, machine, results

PAGE = ROOT / "docs" / "growing.md"
STORES = ("SQLite", "PostgreSQL")
SPARE = 0.5
"""The share of a measured rate that is left for what a day brings at its worst."""


def _rate(value: float) -> str:
    return f"{value:,.0f}/s"


def _time(value: float) -> str:
    return f"{value:.1f} ms"


def _seconds(value: float) -> str:
    return f"{value:.2g} s"


def _bytes(value: float) -> str:
    return f"{value:,.0f} bytes"


def _share(value: float) -> str:
    return f"{value:.0%}"


@dataclass(frozen=True)
class Figure:
    """A row of the table: whose figure it is, by benchmark and side, or by a name in the side's detail."""

    words: str
    benchmark: str
    side: str
    show: Callable[[float], str]
    part: str | None = None

    def of(self, found: dict[str, Any], store: str) -> float | None:
        """Return the median on a store, None where it was not measured."""
        sides = found["benchmarks"].get(self.benchmark, {}).get("sides", ())
        for one in sides:
            if one["side"] == f"{self.side}, {store}":
                parts = [detail.get(self.part) for detail in one["detail"]]
                values: list[float] = one["values"] if self.part is None else [part for part in parts if part]
                return statistics.median(values) if values else None
        return None


STEPS = Figure("steps of workflows of ten, in process", "ten-steps", "windlass ten-steps", _rate)
SERVED = Figure("the same, started through HTTP", "ten-steps", "windlass http ten-steps", _rate)
RUNS = Figure("workflows of one step, started through HTTP", "one-step", "windlass http one-step", _rate)
FLEET = [
    Figure(f"steps of workflows of ten that wait, {count} in all", "fleet", f"windlass fleet {name}", _rate)
    for count, name in (("one worker", "one"), ("two workers", "two"), ("four workers", "four"))
]
FIGURES = (
    Figure("one commit that nobody shares", "alone", "bare commit", _time),
    Figure("a step of a workflow that is alone", "alone", "windlass alone", _time),
    STEPS,
    SERVED,
    RUNS,
    Figure("records stored, from 64 connections", "post-records", "windlass http post-record", _rate),
    Figure("steps that are plain functions, in threads", "step-kinds", "windlass sync-steps", _rate),
    Figure("transactional steps", "step-kinds", "windlass transactional-steps", _rate),
    Figure("from a start to its first line in another process", "apart", "windlass apart start", _time),
    *FLEET,
    Figure("a start beside 1,000,000 runs that wait", "crowd", "windlass crowd crowd", _time),
    Figure("stored records, with 1,000,000 there over with none", "grown", "windlass grown grown", _share, "posts"),
    Figure("finished runs, the same", "grown", "windlass grown grown", _share, "runs"),
    Figure("a list of 1,000,000 runs", "run-lists", "windlass lists lists", _time),
    Figure("memory of a run that sleeps", "sleeping", "windlass sleeping", _bytes),
    Figure(
        "10,000 open runs at work again after `kill -9`", "recovery", "windlass crash recovery", _seconds,
        "recovered_seconds",
    ),
    Figure("events replayed", "histories", "windlass histories whole", _rate, "rate"),
    Figure("memory of a replay, for each event", "histories", "windlass histories whole", _bytes, "bytes_per_event"),
    Figure(
        "the next step after 1,000,000 events, with checkpoints", "histories", "windlass histories continued", _seconds
    ),
)  # fmt: skip


def figures(found: dict[str, Any] | None) -> str:
    """Return the section's figures; without any, where they come from."""
    if found is None:
        return "`make bench` measures it on your machine.\n"
    text = [f"On {machine(found['machine'])}, which server, workers and database share:\n\n"]
    text += ["| | SQLite | PostgreSQL | benchmark |\n|---|---|---|---|\n"]
    for figure in FIGURES:
        values = [figure.of(found, store) for store in STORES]
        if any(value is not None for value in values):
            cells = ["" if value is None else figure.show(value) for value in values]
            text.append(f"| {figure.words} | {' | '.join(cells)} | `{figure.benchmark}` |\n")
    return "".join(text) + "\n" + "".join(f"* {line}\n" for line in _thresholds(found))


def _thresholds(found: dict[str, Any]) -> list[str]:
    """Return what follows from the figures, each with its numbers."""
    lines = []
    served, runs = SERVED.of(found, "SQLite"), RUNS.of(found, "SQLite")
    if served is not None and runs is not None:
        lines.append(
            f"**One server on SQLite** is enough up to {_about(served)} steps, or {_about(runs)} short runs, a second"
            " sustained: half of what it does, so that the other half is there for the worst hour."
        )
    lite, postgres = STEPS.of(found, "SQLite"), STEPS.of(found, "PostgreSQL")
    one, two, four = (figure.of(found, "PostgreSQL") for figure in FLEET)
    if lite is not None and postgres is not None and four is not None:
        more = "more than" if four > lite else "no more than"
        lines.append(
            f"**PostgreSQL** is for several machines and for standbys, not for speed: one process did {_rate(postgres)}"
            f" on it and {_rate(lite)} on SQLite, and four workers of one machine, {_rate(four)}, did {more} that."
        )
    if one is not None and two is not None and four is not None:
        lines.append(
            f"**Another worker** is due from {_about(one)} steps a second for each there is. Here two did"
            f" {two / one:.2f} times what one did and four {four / one:.2f} times, on processors that they shared with"
            " the database; what workers on machines of their own do was not measured."
        )
    return lines


def _about(value: float) -> str:
    """Write the spare share of a rate with two significant digits."""
    return f"{float(f'{value * SPARE:.2g}'):,.0f}"


def quoted(page: str, found: dict[str, Any] | None) -> str:
    """Return the page with these figures between its marks."""
    return between(page, BEGIN, END, figures(found))


def main() -> int:
    """Write the page if it is out of date."""
    text = PAGE.read_text()
    if text != (fresh := quoted(text, results())):
        PAGE.write_text(fresh)
        print("wrote docs/growing.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
