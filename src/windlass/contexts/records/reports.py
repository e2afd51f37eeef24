"""Reports on records, read from the counts that are kept with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa

from windlass.contexts.records import rollups
from windlass.contexts.records.model import Status
from windlass.contexts.records.moments import DAY_END, DAY_START, read_moment
from windlass.contexts.records.rollups import Span, Sums
from windlass.kernel.errors import Invalid

SUMMARY_DAYS = 90
SUMMARY_ROWS = 100
PERCENTILES = (50, 90, 95, 99)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReportFilter:
    """Which records a report is on, as the user wrote it, and ``start`` and ``end`` as ISO 8601 text."""

    status: str | None = None
    category: str | None = None
    date_from: str | None = None
    date_to: str | None = None
    start: str | None = None
    end: str | None = None

    def shown(self) -> Row:
        """Return the filter as the user wrote it."""
        return {
            "status": self.status,
            "category": self.category,
            "date_from": self.date_from,
            "date_to": self.date_to,
        }


def read_filter(status: str | None, category: str | None, date_from: str | None, date_to: str | None) -> ReportFilter:
    """Check what a report is asked on.

    Raises:
        Invalid: the status is none, a date cannot be read, or the dates are reversed.
    """
    if status is not None and status not in set(Status):
        raise Invalid(f"invalid status: {status} is none of {', '.join(Status)}", field="status")
    start = None if date_from is None else read_moment(date_from, "date_from", what="date")
    end = None if date_to is None else read_moment(date_to, "date_to", end=True, what="date")
    if start is not None and end is not None and start > end:
        raise Invalid("date_from is after date_to", field="date_from")
    return ReportFilter(status, category, date_from, date_to, start, end)


class Counts:
    """The counts behind one report, all read in one transaction.

    Whole days come from the counts; what a filter takes of a first and last day is looked at record by record.
    """

    def __init__(self, connection: sa.Connection, wanted: ReportFilter) -> None:
        self._connection = connection
        self._wanted = wanted
        self._edges: list[tuple[str, str]] = []
        first, last = wanted.start, wanted.end
        self._none_between = False
        if first is not None and not first.endswith(DAY_START):
            until = first[:10] + DAY_END
            self._edges.append((first, min(until, last) if last is not None else until))
            self._none_between = first[:10] == date.max.isoformat()
            first = None if self._none_between else _other_day(first, 1) + DAY_START
        if last is not None and not last.endswith(DAY_END):
            if not (self._edges and last <= self._edges[0][1]):
                self._edges.append((last[:10] + DAY_START, last))
            self._none_between |= last[:10] == date.min.isoformat()
            last = last if self._none_between else _other_day(last, -1) + DAY_END
        self._none_between |= first is not None and last is not None and first > last
        self._span = Span(wanted.status, wanted.category, first and first[:10], last and last[:10])

    def sums(self, kind: str, *keep: str) -> Sums:
        """Return the counts of a kind by the columns to ``keep``."""
        found: Sums = {}
        if not self._none_between:
            found = rollups.counted(self._connection, kind, keep, self._span)
        for start, end in self._edges:
            for key, amount in rollups.scanned(self._connection, kind, keep, self._span, start, end).items():
                found[key] = found.get(key, 0) + amount
        return found

    def by(self, kind: str, column: str) -> dict[str, int]:
        """Return the counts of a kind by one column."""
        return {key[0]: amount for key, amount in self.sums(kind, column).items()}

    def ended(self) -> Sums:
        """Return how many records were processed, by hour and status; the filter's dates are those of processing."""
        wanted = self._wanted
        hours = Span(wanted.status, wanted.category, wanted.start and wanted.start[:13], wanted.end and wanted.end[:13])
        return rollups.counted(self._connection, rollups.ENDED, ("period", "status"), hours)


def _other_day(moment: str, days: int) -> str:
    return (date.fromisoformat(moment[:10]) + timedelta(days=days)).isoformat()


def totals(counts: Counts) -> Row:
    """How many records there are, in all and by status."""
    found = counts.by(rollups.COUNT, "status")
    return {"all": sum(found.values()), **{status.value: found.get(status, 0) for status in Status}}


def by_status(counts: Counts) -> list[Row]:
    """How many records in each status."""
    return [{"status": name, "count": count} for name, count in totals(counts).items() if name != "all"]


def by_category(counts: Counts) -> list[Row]:
    """How many records of each category, most first."""
    return _ranked("category", counts.by(rollups.COUNT, "category"))


def by_source(counts: Counts) -> list[Row]:
    """How many records from each source, most first."""
    return _ranked("source", counts.by(rollups.SOURCE, "value"))


def failure_reasons(counts: Counts) -> list[Row]:
    """How many records failed for each reason, most first."""
    return _ranked("reason", counts.by(rollups.REASON, "value"))


def by_day(counts: Counts) -> list[Row]:
    """How many records were created on each UTC day, and what has become of them; the latest day last."""
    return _by_period(counts.sums(rollups.COUNT, "period", "status"), "day", list(Status))


def throughput(counts: Counts) -> list[Row]:
    """How many records were processed in each UTC hour, and how they ended; the latest hour last."""
    return _by_period(counts.ended(), "hour", [Status.PROCESSED, Status.FAILED])


def processing_ms(counts: Counts) -> Row:
    """How long processing took, in milliseconds of two significant digits, from the request to the end."""
    durations = sorted((int(value), count) for value, count in counts.by(rollups.DURATION, "value").items())
    number = sum(count for _, count in durations)
    row: Row = {"count": number}
    for percent in PERCENTILES:
        row[f"p{percent}"] = _at_rank(durations, math.ceil(number * percent / 100))
    row["max"] = durations[-1][0] if durations else None
    return row


REPORTS: dict[str, Callable[[Counts], Row | list[Row]]] = {
    "totals": totals,
    "by_status": by_status,
    "by_category": by_category,
    "by_source": by_source,
    "by_day": by_day,
    "failure_reasons": failure_reasons,
    "processing_ms": processing_ms,
    "throughput": throughput,
}
COLUMNS: dict[str, tuple[str, ...]] = {
    "totals": ("all", *Status),
    "by_status": ("status", "count"),
    "by_category": ("category", "count"),
    "by_source": ("source", "count"),
    "by_day": ("day", "count", *Status),
    "failure_reasons": ("reason", "count"),
    "processing_ms": ("count", *(f"p{percent}" for percent in PERCENTILES), "max"),
    "throughput": ("hour", "count", Status.PROCESSED, Status.FAILED),
}
"""What the rows of each report hold, in order."""


def summary(counts: Counts) -> Row:
    """Return all of it; lists of ours are cut to what a page can show, each is whole in its own report."""
    return {
        "totals": totals(counts),
        "by_category": by_category(counts),
        "by_source": by_source(counts)[:SUMMARY_ROWS],
        "by_day": by_day(counts)[-SUMMARY_DAYS:],
        "failure_reasons": failure_reasons(counts)[:SUMMARY_ROWS],
        "processing_ms": processing_ms(counts),
        "throughput": throughput(counts)[-24:],
    }


def _ranked(name: str, counts: dict[str, int]) -> list[Row]:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{name: value, "count": count} for value, count in ranked]


def _by_period(sums: Sums, name: str, statuses: list[Status]) -> list[Row]:
    rows = []
    for period in sorted({period for period, _ in sums}):
        parts = {status.value: sums.get((period, status.value), 0) for status in statuses}
        rows.append({name: period, "count": sum(parts.values()), **parts})
    return rows


def _at_rank(durations: list[tuple[int, int]], rank: int) -> int | None:
    for value, count in durations:
        rank -= count
        if rank <= 0:
            return value
    return None
