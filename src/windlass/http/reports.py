"""Routes of reports."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from windlass.contexts.records.api import REPORTS, ReportFilter, read_filter, report_csv, summary_csv
from windlass.http.query import Parameter, choice, free, label, read_query
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, application, route
from windlass.http.schemas import ReportAnswer, SummaryAnswer
from windlass.kernel.clock import to_iso

_DATE = {"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]}
_CSV = "text/csv; charset=utf-8"
_STATUS = {"type": "string", "enum": ["pending", "processed", "failed"]}
FILTERS: list[Parameter] = [
    free("status", "Only records in this status", _STATUS),
    label("category", "Only records of this category"),
    free("date_from", "Only records created on this UTC day, or at this time, or later", _DATE),
    free("date_to", "Only records created on this UTC day, or at this time, or earlier", _DATE),
]
REPORT: list[Parameter] = [*FILTERS, choice("format", ("json", "csv"), "The form of the rows", "json")]


async def summary(request: Request) -> Response:
    """Summarise records: totals, by category, source and day, failures, durations and throughput.

    As CSV it is a line for each figure: report, name, figure, value.
    """
    asked = read_query(request, REPORT)
    wanted = _wanted(asked)
    found = await application(request).records.summary(wanted)
    if asked["format"] == "csv":
        return Response(summary_csv(found), media_type=_CSV)
    return Json({**_head(request, wanted), **found})


async def report(request: Request) -> Response:
    """Get one report as JSON or CSV."""
    asked = read_query(request, REPORT)
    name, wanted = request.path_params["name"], _wanted(asked)
    rows = await application(request).records.report(name, wanted)
    if asked["format"] == "csv":
        return Response(report_csv(name, rows), media_type=_CSV)
    return Json({"report": name, **_head(request, wanted), "rows": rows})


def _wanted(asked: dict[str, Any]) -> ReportFilter:
    return read_filter(asked["status"], asked["category"], asked["date_from"], asked["date_to"])


def _head(request: Request, wanted: ReportFilter) -> dict[str, Any]:
    return {"generated_at": to_iso(application(request).engine.clock.now()), "filters": wanted.shown()}


def routes() -> list[DirectRoute]:
    """Return the routes of reports."""
    tag = "reports"
    sheet = {"content": {"text/csv": {"schema": {"type": "string"}}}}
    whole = {"model": SummaryAnswer, "description": "The summary", **sheet}
    one = {"model": ReportAnswer, "description": f"The report; there are {', '.join(REPORTS)}", **sheet}
    return [
        route("GET", "/reports/summary", summary, tag=tag, answers={200: whole}, errors=(400, 422),
              parameters=REPORT),
        route("GET", "/reports/{name}", report, tag=tag, answers={200: one}, errors=(400, 404, 422),
              parameters=REPORT),
    ]  # fmt: skip
