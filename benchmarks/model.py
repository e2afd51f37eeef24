"""What a benchmark is made of: sides that are measured, and ratios between them with goals."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from benchmarks.contender import Outcome


class Store(StrEnum):
    """Where a side keeps its data."""

    SQLITE = "SQLite"
    POSTGRES = "PostgreSQL"
    OWN = "its own log"


@dataclass(frozen=True)
class Side:
    """One contender in one shape on one store: how it is run, and the unit of its figure.

    ``size`` is what a full run asks of it, ``quick`` what a test asks; ``rounds`` limits how often a slow one
    is measured.
    """

    contender: str
    store: Store
    module: str
    shape: str
    unit: str
    size: int
    quick: int
    at_a_time: int = 100
    rounds: int | None = None

    @property
    def name(self) -> str:
        """Contender, shape and store in words."""
        return f"{self.contender} {self.shape}, {self.store}"


@dataclass(frozen=True)
class Goal:
    """What the project wants of a ratio, and how such a figure is written."""

    reach: float
    aim: float
    show: Callable[[float], str]
    at_least: bool = True

    def verdict(self, value: float) -> str:
        """Return ``aim``, ``reached`` or ``missed``."""
        if value >= self.aim if self.at_least else value <= self.aim:
            return "aim"
        return "reached" if (value >= self.reach if self.at_least else value <= self.reach) else "missed"

    def bound(self, value: float) -> str:
        """Return a bound with its direction."""
        return f"{'≥' if self.at_least else '≤'} {self.show(value)}"


@dataclass(frozen=True)
class Ratio:
    """One line of the result: the figure of a side over ``times`` another's, or by itself.

    ``part`` names a figure in the outcome's detail instead of its value, ``over_part`` one in that of the other side.
    """

    title: str
    of: Side
    over: Side | None
    goal: Goal | None
    times: float = 1
    part: str | None = None
    over_part: str | None = None

    def values(self, outcomes: dict[Side, list[Outcome]]) -> list[float]:
        """Return the ratio of every round in which both sides were measured."""
        above = [_figure(outcome, self.part) for outcome in outcomes.get(self.of, [])]
        if self.over is None:
            return above
        below = [_figure(outcome, self.over_part) * self.times for outcome in outcomes.get(self.over, [])]
        return [one / other for one, other in zip(above, below, strict=False)]

    def median(self, outcomes: dict[Side, list[Outcome]]) -> float | None:
        """Return the ratio of the medians, None when a side was not measured."""
        above = [_figure(outcome, self.part) for outcome in outcomes.get(self.of, [])]
        if not above:
            return None
        if self.over is None:
            return statistics.median(above)
        below = [_figure(outcome, self.over_part) * self.times for outcome in outcomes.get(self.over, [])]
        return statistics.median(above) / statistics.median(below) if below else None


def _figure(outcome: Outcome, part: str | None) -> float:
    if part is None:
        return outcome.value
    found = outcome.detail[part]
    assert isinstance(found, int | float)
    return float(found)


@dataclass(frozen=True)
class Benchmark:
    """One file of the table: its ratios, and sides that are measured and printed beside them."""

    name: str
    title: str
    ratios: tuple[Ratio, ...]
    beside: tuple[Side, ...] = field(default=())

    def sides(self) -> list[Side]:
        """Return every side once: those of the ratios in order, then those beside them."""
        return list(dict.fromkeys(_sides(self.ratios, self.beside)))


def _sides(ratios: Iterable[Ratio], beside: Iterable[Side]) -> Iterable[Side]:
    for ratio in ratios:
        yield ratio.of
        if ratio.over is not None:
            yield ratio.over
    yield from beside


def times(value: float) -> str:
    """Write a factor with its multiplication sign."""
    digits = 0 if value >= 10 or value == round(value) else 1 if value >= 1 else 2
    return f"{value:.{digits}f}\N{MULTIPLICATION SIGN}"


def share(value: float) -> str:
    """Write a share: ``0.35``."""
    return f"{value:.2f}"


def fraction(value: float) -> str:
    """Write a small ratio as one over something: ``1/40``."""
    return f"1/{1 / value:.2g}" if value > 0.1 else f"1/{1 / value:.0f}"


def kilobytes(value: float) -> str:
    """Write bytes in kB."""
    return f"{value / 1000:.2f} kB"
