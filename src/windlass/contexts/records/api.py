"""The door to records: what the edges, other contexts and users' own modules may use."""

from __future__ import annotations

from windlass.contexts.records.bulk import TOGETHER_BYTES, TOGETHER_RECORDS, Import
from windlass.contexts.records.export import FORMS as EXPORT_FORMS
from windlass.contexts.records.export import written
from windlass.contexts.records.intake import name_complaints, read_json
from windlass.contexts.records.listing import DEFAULT_LIMIT, MAX_LIMIT, SORTS, Filter, ListQuery
from windlass.contexts.records.model import NAME_LENGTH, Record, Status
from windlass.contexts.records.moments import read_moment
from windlass.contexts.records.outcome import Outcome, Rejected
from windlass.contexts.records.processors import Processors, processor
from windlass.contexts.records.processors import load as load_processors
from windlass.contexts.records.reports import REPORTS, ReportFilter, read_filter
from windlass.contexts.records.rollups import wrong as wrong_counts
from windlass.contexts.records.service import Accepted, Limits, Many, Page, Records
from windlass.contexts.records.sheets import report_csv, summary_csv

__all__ = [
    "DEFAULT_LIMIT",
    "EXPORT_FORMS",
    "MAX_LIMIT",
    "NAME_LENGTH",
    "REPORTS",
    "SORTS",
    "TOGETHER_BYTES",
    "TOGETHER_RECORDS",
    "Accepted",
    "Filter",
    "Import",
    "Limits",
    "ListQuery",
    "Many",
    "Outcome",
    "Page",
    "Processors",
    "Record",
    "Records",
    "Rejected",
    "ReportFilter",
    "Status",
    "load_processors",
    "name_complaints",
    "processor",
    "read_filter",
    "read_json",
    "read_moment",
    "report_csv",
    "summary_csv",
    "written",
    "wrong_counts",
]
