"""``windlass records``: take records in, hand them out, process them and report on them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from windlass.cli.client.protocol import RecordFilter, ReportFilter
from windlass.cli.exits import bad_input
from windlass.cli.options import ApiKey, Category, CreatedAfter, CreatedBefore, Json, RecordStatus, Source, Url
from windlass.cli.running import run

group = typer.Typer(help="Import, export, process and summarise records.", no_args_is_help=True)


class ImportFormat(StrEnum):
    """What an import is written in."""

    NDJSON = "ndjson"
    JSON = "json"
    CSV = "csv"


class ExportFormat(StrEnum):
    """What an export is written in."""

    NDJSON = "ndjson"
    CSV = "csv"


Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="These records; the filters are for many.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Only start the run and print its id.")]
Timeout = Annotated[float | None, typer.Option(min=0, metavar="SECONDS", help="Wait no longer than that.")]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="No more than N records.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="records")


@group.command("import")
def import_(  # noqa: PLR0913  each is an option
    file: Annotated[str, typer.Argument(metavar="FILE", help="What to read; - is stdin.")],
    *,
    format_: Annotated[
        ImportFormat | None,
        typer.Option("--format", help="Told by the file's ending or its first character when left out."),
    ] = None,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="The source of records that have none.")] = None,
    category: Annotated[
        str | None, typer.Option(metavar="NAME", help="The category of records that have none.")
    ] = None,
    rejects: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", dir_okay=False, help="Write refused lines there as NDJSON instead of naming them on stderr."
        ),
    ] = None,
    process: Annotated[
        bool, typer.Option("--process", help="Then process all pending records and wait for it.")
    ] = False,
    name: Annotated[str, typer.Option(metavar="TEXT", help="Another name imports the same records another time.")] = "",
    patience: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long a server that is away is asked again.")
    ] = 60.0,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Import records from NDJSON, a JSON array or CSV; .gz and .xz are understood.

    CSV has the columns source, category and payload (JSON), or any others in place of payload: they are the payload.

    An import that broke off can be repeated: what is stored already is recognised by its content and place, and not
    stored twice. Refused lines make the exit code 1.
    """
    from windlass.cli.work import records as work

    defaults = {key: text for key, text in (("source", source), ("category", category)) if text is not None}
    order = work.ImportOrder(
        file, None if format_ is None else format_.value, defaults, rejects, process, name, patience
    )
    run(work.import_records(order, url, api_key, json=json))


@group.command()
def export(
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", dir_okay=False, help="Write there instead of to stdout."),
    ] = None,
    format_: Annotated[
        ExportFormat | None, typer.Option("--format", help="Told by the output's ending when left out, else ndjson.")
    ] = None,
    status: Annotated[RecordStatus | None, typer.Option(help="Records in this status only.")] = None,
    category: Category = None,
    source: Source = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Export records, oldest first, as NDJSON or CSV.

    A file appears under its name only when it is complete.
    """
    from windlass.cli.work import records as work

    wanted = RecordFilter(_value(status), category, source, created_after, created_before)
    fmt = _value(format_) or ("csv" if output is not None and output.suffix.lower() == ".csv" else "ndjson")
    run(work.export_records(wanted, fmt, output, url, api_key))


@group.command()
def process(  # noqa: PLR0913  each is an option
    ids: Ids = None,
    *,
    category: Category = None,
    source: Source = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    limit: Limit = None,
    no_wait: NoWait = False,
    timeout: Timeout = None,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Process pending records: those named, or all that match, in one durable run that survives everything."""
    from windlass.cli.work import records as work

    wanted = RecordFilter("pending", category, source, created_after, created_before)
    order = work.ProcessOrder(wanted, limit, not no_wait, timeout, retry=False)
    _process(ids, order, url, api_key, json=json)


@group.command()
def retry(  # noqa: PLR0913  each is an option
    ids: Ids = None,
    *,
    category: Category = None,
    source: Source = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    limit: Limit = None,
    no_wait: NoWait = False,
    timeout: Timeout = None,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Process failed records again, once the cause is gone: those named, or all that match."""
    from windlass.cli.work import records as work

    wanted = RecordFilter("failed", category, source, created_after, created_before)
    order = work.ProcessOrder(wanted, limit, not no_wait, timeout, retry=True)
    _process(ids, order, url, api_key, json=json)


@group.command()
def summary(
    *,
    status: Annotated[RecordStatus | None, typer.Option(help="Records in this status only.")] = None,
    category: Category = None,
    date_from: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="Created on this UTC day or later.")
    ] = None,
    date_to: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="Created on this UTC day or earlier.")
    ] = None,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV: report, name, figure, value.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Print the report on records: counts, reasons of failures, durations."""
    from windlass.cli.work import records as work

    if json and csv:
        bad_input("--json and --csv exclude each other")
    wanted = ReportFilter(_value(status), category, date_from, date_to)
    run(work.summarise(wanted, "json" if json else "csv" if csv else "tables", url, api_key))


def _process(ids: list[str] | None, order: object, url: str | None, api_key: str | None, *, json: bool) -> None:
    from windlass.cli.work import records as work

    assert isinstance(order, work.ProcessOrder)  # noqa: S101  loaded lazily
    if not ids:
        run(work.process_matching(order, url, api_key, json=json))
        return
    wanted = order.wanted
    if order.limit is not None or any((wanted.category, wanted.source, wanted.created_after, wanted.created_before)):
        bad_input("name records or filter them, not both")
    run(work.process_named(ids, order, url, api_key, json=json))


def _value(choice: StrEnum | None) -> str | None:
    return None if choice is None else choice.value
