"""Between what commands say and what the API says."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from windlass.cli.client.protocol import Fault, RecordFilter, ReportFilter, Row, RunQuery, Stored


def given(query: RecordFilter | ReportFilter | RunQuery) -> dict[str, Any]:
    """Return what a query asks for, without what was not said."""
    said = {name: value for name, value in asdict(query).items() if value is not None and value is not False}
    return {name: "true" if value is True else value for name, value in said.items()}


def stored(answer: Row) -> Stored:
    """Return a bulk answer as what became of a batch."""
    return Stored(answer["created"], answer["repeated"], [_fault(result) for result in answer["results"]])


def _fault(result: Row) -> Fault:
    """Return what is wrong with a record of a bulk answer."""
    error = result["error"]
    details = error.get("details")
    if not isinstance(details, list) or not details:
        return Fault(result["line"], details.get("field") if isinstance(details, dict) else None, error["message"])
    issues = [(".".join(str(part) for part in issue["loc"][2:]), issue["msg"]) for issue in details]
    field, message = issues[0]
    if len(issues) > 1:
        field, message = "", "; ".join(f"{field}: {message}" if field else message for field, message in issues)
    return Fault(result["line"], field or None, message)
