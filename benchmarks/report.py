"""Writes what was measured: a table on the terminal, ``results.md`` with a chart, and ``results.json``."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.chart import Bar, bars
from benchmarks.contender import Outcome
from benchmarks.model import Benchmark, Ratio, Side, share

Outcomes = dict[Side, list[Outcome]]
_MARKS = {"aim": "aim reached", "reached": "reached", "missed": "**missed**", "": ""}


_INTRODUCTION = """# Measured

Every contender is durable: nothing is acknowledged before it is on disk. Each measurement is a process of its
own on a new database; contenders take turns within every round. A figure is the median of its rounds, a ratio
the quotient of two medians. `make bench` writes this page.
"""


@dataclass(frozen=True)
class Line:
    """A ratio with its figures, written out."""

    benchmark: str
    title: str
    reach: str
    aim: str
    measured: str
    spread: str
    verdict: str

    def cells(self) -> tuple[str, ...]:
        """Return the cells after the benchmark's name."""
        return self.title, self.reach, self.aim, self.measured, self.spread, self.verdict


def number(value: float) -> str:
    """Write a figure with three significant digits or whole thousands."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def line(benchmark: Benchmark, ratio: Ratio, outcomes: Outcomes) -> Line:
    """Return one line of the result."""
    goal, median = ratio.goal, ratio.median(outcomes)
    show = goal.show if goal is not None else share
    values = ratio.values(outcomes)
    return Line(
        benchmark.title,
        ratio.title,
        goal.bound(goal.reach) if goal is not None else "",
        goal.bound(goal.aim) if goal is not None else "",
        "not measured" if median is None else show(median),
        f"{show(min(values))} … {show(max(values))}" if len(values) > 1 else "",
        goal.verdict(median) if goal is not None and median is not None else "",
    )


def figures(outcomes: Outcomes) -> list[tuple[str, str, str, str]]:
    """Return side, unit, median and spread of every side measured."""
    rows = []
    for side, found in outcomes.items():
        values = [outcome.value for outcome in found]
        if values:
            spread = f"{number(min(values))} … {number(max(values))} ({len(values)})"
            rows.append((side.name, side.unit, number(statistics.median(values)), spread))
    return rows


def show(console: Console, benchmark: Benchmark, outcomes: Outcomes) -> None:
    """Print one benchmark's figures and ratios."""
    absolute = Table("side", "unit", "median", "min … max (runs)", title=benchmark.title, title_justify="left")
    for row in figures(outcomes):
        absolute.add_row(*row)
    ratios = Table("ratio", "to reach", "aim", "measured", "min … max", "verdict")
    for ratio in benchmark.ratios:
        ratios.add_row(*line(benchmark, ratio, outcomes).cells())
    console.print(absolute, ratios, "")


def _markdown_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]


def markdown(
    results: dict[Benchmark, Outcomes], machine: dict[str, str], settings: dict[str, str], chart: str | None
) -> str:
    """Return the whole report as Markdown."""
    goals = []
    for benchmark, outcomes in results.items():
        for ratio in benchmark.ratios:
            one = line(benchmark, ratio, outcomes)
            goals.append((f"{one.benchmark}: {one.title}", *one.cells()[1:5], _MARKS[one.verdict]))
    text = [_INTRODUCTION]
    text += _markdown_table(("what", "to reach", "aim", "measured", "min … max", "verdict"), goals)
    if chart is not None:
        text += [f"![Steps and workflows per second]({chart})", ""]
    text += ["## Figures", ""]
    for benchmark, outcomes in results.items():
        text += [f"### {benchmark.title}", ""]
        text += _markdown_table(("side", "unit", "median", "min … max (runs)"), list(figures(outcomes)))
    text += ["## Machine and versions", ""]
    text += _markdown_table(("what", "value"), list(machine.items()))
    text += ["## Settings", ""]
    text += _markdown_table(("what", "value"), list(settings.items()))
    return "\n".join(text)


def as_json(results: dict[Benchmark, Outcomes], machine: dict[str, str], settings: dict[str, str]) -> str:
    """Return every figure of every round, and the ratios."""
    found = {
        benchmark.name: {
            "title": benchmark.title,
            "sides": [
                {
                    "side": side.name,
                    "unit": side.unit,
                    "values": [outcome.value for outcome in rounds],
                    "detail": [outcome.detail for outcome in rounds],
                }
                for side, rounds in outcomes.items()
            ],
            "ratios": [
                {
                    "title": ratio.title,
                    "median": ratio.median(outcomes),
                    "values": ratio.values(outcomes),
                    "reach": ratio.goal.reach if ratio.goal else None,
                    "aim": ratio.goal.aim if ratio.goal else None,
                    "verdict": line(benchmark, ratio, outcomes).verdict,
                }
                for ratio in benchmark.ratios
            ],
        }
        for benchmark, outcomes in results.items()
    }
    return json.dumps({"machine": machine, "settings": settings, "benchmarks": found}, indent=1) + "\n"


def chart_of(results: dict[Benchmark, Outcomes]) -> str | None:
    """Return an SVG of the rates in the results, None when there is none."""
    groups: dict[str, list[Bar]] = {}
    for benchmark, outcomes in results.items():
        for side, found in outcomes.items():
            if side.unit in {"steps/s", "workflows/s"} and found and benchmark.name in {"ten-steps", "one-step"}:
                value = statistics.median(outcome.value for outcome in found)
                label = f"{side.contender}, {side.store}"
                groups.setdefault(benchmark.title, []).append(Bar(label, value, side.contender))
    return bars(groups) if groups else None


def write(folder: Path, results: dict[Benchmark, Outcomes], machine: dict[str, str], settings: dict[str, str]) -> None:
    """Write ``results.md``, ``results.json`` and ``results.svg`` into a folder."""
    chart = chart_of(results)
    if chart is not None:
        (folder / "results.svg").write_text(chart)
    page = markdown(results, machine, settings, "results.svg" if chart is not None else None)
    (folder / "results.md").write_text(page)
    (folder / "results.json").write_text(as_json(results, machine, settings))
