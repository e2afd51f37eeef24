"""Reports on records, read from the counts that are kept with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from windlass.contexts.records.model import Status
from windlass.contexts.records.moments import DAY_END, DAY_START, read_moment
from windlass.contexts.records.tallies import (
    CATEGORIES,
    DAYS,
    DURATIONS,
    HOURS,
    NEVER,
    REASONS,
    SOURCES,
    Group,
    Question,
    Span,
    answer,
)
from windlass.kernel.errors import Invalid

SUMMARY_DAYS = 90
SUMMARY_HOURS = 24
SUMMARY_ROWS = 100
PERCENTILES = (50, 90, 95, 99)

Row = dict[str, Any]
Groups = Sequence[Group]


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


def span(wanted: ReportFilter) -> Span:
    """Return what is counted: whole days from the counts, what a filter takes of a first and last day by its edges."""
    first, last = wanted.start, wanted.end
    edges: list[tuple[str, str]] = []
    none_between = False
    if first is not None and not first.endswith(DAY_START):
        until = first[:10] + DAY_END
        edges.append((first, min(until, last) if last is not None else until))
        none_between = first[:10] == date.max.isoformat()
        first = None if none_between else _other_day(first, 1)
    if last is not None and not last.endswith(DAY_END):
        if not (edges and last <= edges[0][1]):
            edges.append((last[:10] + DAY_START, last))
        none_between |= last[:10] == date.min.isoformat()
        last = None if none_between else _other_day(last, -1)
    return Span(
        status=wanted.status,
        category=wanted.category,
        first_day=NEVER if none_between else first and first[:10],
        last_day=last and last[:10],
        first_hour=wanted.start and wanted.start[:13],
        last_hour=wanted.end and wanted.end[:13],
        edges=tuple(edges),
    )


def _other_day(moment: str, days: int) -> str:
    return (date.fromisoformat(moment[:10]) + timedelta(days=days)).isoformat()


def totals(categories: Groups) -> Row:
    """How many records there are, in all and by status."""
    numbers = {status.value: sum(getattr(group, status) for group in categories) for status in Status}
    return {"all": sum(numbers.values()), **numbers}


def by_status(categories: Groups) -> list[Row]:
    """How many records in each status."""
    return [{"status": name, "count": count} for name, count in totals(categories).items() if name != "all"]


def by_category(categories: Groups) -> list[Row]:
    """How many records of each category, most first."""
    return _ranked("category", categories)


def by_source(sources: Groups) -> list[Row]:
    """How many records from each source, most first."""
    return _ranked("source", sources)


def failure_reasons(reasons: Groups) -> list[Row]:
    """How many records failed for each reason, most first."""
    return _ranked("reason", reasons)


def by_day(days: Groups) -> list[Row]:
    """How many records were created on each UTC day, and what has become of them; the latest day last."""
    return [
        {"day": day.name, "count": day.total, **{status.value: getattr(day, status) for status in Status}}
        for day in sorted(days)
    ]


def throughput(hours: Groups) -> list[Row]:
    """How many records were processed in each UTC hour, and how they ended; the latest hour last."""
    return [
        {"hour": hour.name, "count": hour.total, "processed": hour.processed, "failed": hour.failed}
        for hour in sorted(hours)
    ]


def processing_ms(durations: Groups) -> Row:
    """How long processing took, in milliseconds of two significant digits, from the request to the end."""
    counted = sorted((int(group.name), group.total) for group in durations)
    number = sum(count for _, count in counted)
    row: Row = {"count": number}
    for percent in PERCENTILES:
        row[f"p{percent}"] = _at_rank(counted, math.ceil(number * percent / 100))
    row["max"] = counted[-1][0] if counted else None
    return row


class Report(NamedTuple):
    """What a report asks, and what it makes of the answer."""

    question: Question
    made: Callable[[Groups], Row | list[Row]]


REPORTS: dict[str, Report] = {
    "totals": Report(CATEGORIES, totals),
    "by_status": Report(CATEGORIES, by_status),
    "by_category": Report(CATEGORIES, by_category),
    "by_source": Report(SOURCES, by_source),
    "by_day": Report(DAYS, by_day),
    "failure_reasons": Report(REASONS, failure_reasons),
    "processing_ms": Report(DURATIONS, processing_ms),
    "throughput": Report(HOURS, throughput),
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


_SUMMARY = (
    CATEGORIES,
    SOURCES._replace(most=SUMMARY_ROWS),
    DAYS._replace(most=SUMMARY_DAYS),
    REASONS._replace(most=SUMMARY_ROWS),
    DURATIONS,
    HOURS._replace(most=SUMMARY_HOURS),
)


def summary(connection: sa.Connection, wanted: ReportFilter) -> Row:
    """Return all of it; lists of ours are cut to what a page can show, each is whole in its own report."""
    categories, sources, days, reasons, durations, hours = answer(connection, span(wanted), _SUMMARY)
    return {
        "totals": totals(categories),
        "by_category": by_category(categories),
        "by_source": by_source(sources),
        "by_day": by_day(days),
        "failure_reasons": failure_reasons(reasons),
        "processing_ms": processing_ms(durations),
        "throughput": throughput(hours),
    }


def report(connection: sa.Connection, wanted: ReportFilter, name: str) -> list[Row]:
    """Return the rows of one report."""
    question, made = REPORTS[name]
    rows = made(answer(connection, span(wanted), [question])[0])
    return rows if isinstance(rows, list) else [rows]


def _ranked(name: str, groups: Groups) -> list[Row]:
    ranked = sorted(groups, key=lambda group: (-group.total, group.name))
    return [{name: group.name, "count": group.total} for group in ranked]


def _at_rank(durations: list[tuple[int, int]], rank: int) -> int | None:
    for value, count in durations:
        rank -= count
        if rank <= 0:
            return value
    return None
