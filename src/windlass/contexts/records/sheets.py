"""Reports as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from windlass.contexts.records.reports import COLUMNS, Row

SUMMARY = ("report", "name", "figure", "value")


def report_csv(name: str, rows: Iterable[Row]) -> str:
    """Return the rows of one report as CSV; the columns are there without rows too."""
    columns = COLUMNS[name]
    return _written(columns, ([row[column] for column in columns] for row in rows))


def summary_csv(summary: Mapping[str, Any], line_end: str = "\r\n") -> str:
    """Return a summary as CSV: a line for each figure."""
    return _written(SUMMARY, flat(summary), line_end)


def flat(summary: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Any]]:
    """Yield the figures of a summary as rows of report, name, figure and value."""
    for report, value in summary.items():
        if report in {"generated_at", "filters"}:
            continue
        if isinstance(value, dict):
            yield from ((report, "", figure, number) for figure, number in value.items())
            continue
        for row in value:
            name, *figures = row.items()
            yield from ((report, str(name[1]), figure, number) for figure, number in figures)


def _written(columns: Iterable[str], rows: Iterable[Iterable[object]], line_end: str = "\r\n") -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=line_end)
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
