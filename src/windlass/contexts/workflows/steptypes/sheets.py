"""Comma-separated values and records, both ways."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import orjson

from windlass.contexts.workflows.steptypes import fields
from windlass.contexts.workflows.steptypes.base import StepContext, StepType
from windlass.contexts.workflows.steptypes.threads import apart, invalid

MOST_COLUMNS = 1_000
MOST_FIELD = 131_072
"""Characters of a value; the limit of the csv module is a process's, and others change it."""
DELIMITER = fields.text("What stands between two values", least=1, most=1, default=",", pattern=r'^[^"\r\n\x00]$')


def _read(text: str, delimiter: str, has_header: bool) -> dict[str, Any]:
    rows: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if max(map(len, row), default=0) > MOST_FIELD:
                raise invalid(f"line {reader.line_num}: field larger than {MOST_FIELD:,} characters")
            if row:
                rows.append(row)
            if len(rows) > fields.MOST_ITEMS + 1 or len(row) > MOST_COLUMNS:
                most = f"{fields.MOST_ITEMS:,} rows of {MOST_COLUMNS:,} values"
                raise invalid(f"line {reader.line_num}: more than {most}")
    except csv.Error as error:
        told = str(error).replace("field limit (131072)", f"{MOST_FIELD:,} characters")
        raise invalid(f"line {reader.line_num}: {told}") from None
    columns = (
        rows.pop(0) if has_header and rows else [f"column_{at + 1}" for at in range(max(map(len, rows), default=0))]
    )
    twice = {name for name in columns if columns.count(name) > 1}
    if twice:
        raise invalid(f"line 1: the column {min(twice)!r} is there twice")
    for number, row in enumerate(rows, 1):
        if len(row) > len(columns):
            raise invalid(f"row {number} has {len(row)} values, there are {len(columns)} columns")
    short = [None] * len(columns)
    records = [dict(zip(columns, [*row, *short[len(row) :]], strict=True)) for row in rows]
    return {"records": records, "columns": columns, "count": len(records)}


async def csv_to_json(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:  # noqa: ARG001
    """Read comma-separated values."""
    text = config.get("csv_data", config.get("data", ""))
    return await apart(len(text), _read, text.removeprefix("\ufeff"), config["delimiter"], config["has_header"])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else str(value)


def _write(records: list[Any], delimiter: str, include_header: bool) -> dict[str, Any]:
    columns: dict[str, None] = {}
    for number, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise invalid(f"config.records.{number}: a record is an object")
        columns.update(dict.fromkeys(record))
        if len(columns) > MOST_COLUMNS:
            raise invalid(f"config.records.{number}: more than {MOST_COLUMNS:,} columns")
    sheet = io.StringIO(newline="")
    writer = csv.writer(sheet, delimiter=delimiter)
    if include_header and columns:
        writer.writerow(columns)
    for record in records:
        writer.writerow([_cell(record.get(name)) for name in columns])
        if sheet.tell() > 8 * fields.MOST_TEXT:
            raise invalid(f"the text would be longer than {8 * fields.MOST_TEXT:,} characters")
    return {"csv": sheet.getvalue(), "count": len(records)}


async def json_to_csv(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:  # noqa: ARG001
    """Write comma-separated values."""
    records = config.get("records", config.get("data", []))
    return await apart(len(records) * 100, _write, records, config["delimiter"], config["include_header"])


SHEETS = (
    StepType(
        name="csv_to_json",
        description="Read comma-separated values as records",
        schema=fields.config(
            {
                "csv_data": fields.text("The text"),
                "data": fields.text("The same, by its other name"),
                "delimiter": DELIMITER,
                "has_header": fields.flag("Whether the first line names the columns", default=True),
            },
            **fields.either("csv_data", "data"),
        ),
        example={"csv_data": "name,age\nann,31\n"},
        work=csv_to_json,
        mapable=True,
        outputs={
            "records": "an object for each row; a value that a short row lacks is null",
            "columns": "their names; column_1, column_2, … without a header",
            "count": "how many records",
        },
    ),
    StepType(
        name="json_to_csv",
        description="Write records as comma-separated values",
        schema=fields.config(
            {
                "records": fields.listing("The records, objects"),
                "data": fields.listing("The same, by its other name"),
                "delimiter": DELIMITER,
                "include_header": fields.flag("Whether the first line names the columns", default=True),
            },
            **fields.either("records", "data"),
        ),
        example={"records": "{{ last.records }}", "delimiter": ";"},
        work=json_to_csv,
        mapable=True,
        outputs={"csv": "the text; lines end in CR LF", "count": "how many records"},
    ),
)
