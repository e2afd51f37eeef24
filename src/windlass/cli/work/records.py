"""What the commands of ``windlass records`` do."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import typer

from windlass.cli import output
from windlass.cli.client.open import open_client
from windlass.cli.client.protocol import Client, RecordFilter, ReportFilter, Row
from windlass.cli.exits import CommandError, ExitCode, explain
from windlass.cli.importing.batches import batches
from windlass.cli.importing.importer import Importer, Tally
from windlass.cli.importing.readers import read
from windlass.cli.importing.rejects import Rejects
from windlass.cli.importing.source import format_of, open_source
from windlass.cli.output import number
from windlass.cli.progress import progress
from windlass.cli.waiting import Watch, add_counts
from windlass.kernel.errors import WindlassError

MEBIBYTE = 1024 * 1024
SHOWN = 15
"""How many rows a table of the summary shows."""
COUNTS = ("processed", "failed", "skipped")
SECTIONS = {
    "by_category": ("Categories", "category"),
    "by_source": ("Sources", "source"),
    "by_day": ("Days", "day"),
    "throughput": ("Processed by hour", "hour"),
    "failure_reasons": ("Reasons of failures", "reason"),
}


@dataclass(frozen=True, slots=True)
class ImportOrder:
    """What to import, and how."""

    file: str
    fmt: str | None
    defaults: Mapping[str, str]
    rejects: Path | None
    process: bool
    name: str
    patience: float


@dataclass(frozen=True, slots=True)
class ProcessOrder:
    """Which records to process, and whether to wait for it."""

    wanted: RecordFilter
    limit: int | None
    wait: bool
    timeout: float | None
    retry: bool


# import
async def import_records(order: ImportOrder, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Import, say what became of it, and process if that is wanted."""
    source = open_source(order.file)
    rejects = Rejects(order.rejects)
    loop = asyncio.get_running_loop()
    try:
        found = batches(read(source, format_of(source, order.fmt), order.defaults))
        async with open_client(url, api_key, creates=True) as client:
            importer = Importer(client, order.name, rejects, order.patience)
            begun = loop.time()
            with progress("Importing", source.total, "bytes") as shown, _told_when_stopped():

                def tell(tally: Tally) -> None:
                    rate = (tally.accepted - tally.repeated) / max(loop.time() - begun, 1e-6)
                    shown.at(source.consumed, source.total, f"{number(tally.accepted)} records, {number(rate)}/s")

                tally = await importer.run(found, tell)
            seconds = loop.time() - begun
            answer: Row = {
                "accepted": tally.accepted,
                "already_there": tally.repeated,
                "refused": tally.refused,
                "seconds": round(seconds, 3),
            }
            if order.process:
                wanted = RecordFilter("pending")
                answer["processed"] = await _process_all(client, ProcessOrder(wanted, None, True, None, retry=False))
            _tell_import(answer, json=json)
    finally:
        rejects.close()
        source.close()
    if tally.refused:
        raise typer.Exit(ExitCode.FINDING)


@contextmanager
def _told_when_stopped() -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, asyncio.CancelledError):
        output.note("stopped; the same command goes on where this one was")
        raise


def _tell_import(answer: Row, *, json: bool) -> None:
    if json:
        output.as_json(answer)
        return
    new = answer["accepted"] - answer["already_there"]
    shown: dict[str, object] = {"accepted": number(answer["accepted"])}
    if answer["already_there"]:
        shown["already there"] = number(answer["already_there"])
    shown["refused"] = number(answer["refused"])
    shown["time"] = f"{answer['seconds']:.1f} s, {number(new / max(answer['seconds'], 1e-6))} new records/s"
    for name, count in answer.get("processed", {}).get("counts", {}).items():
        shown[name] = number(count)
    output.fields(shown)


# export
async def export_records(
    wanted: RecordFilter, fmt: str, target: Path | None, url: str | None, api_key: str | None
) -> None:
    """Write records to a file or to stdout as they come."""
    async with open_client(url, api_key) as client:
        if target is None:
            await _write(client, wanted, fmt, sys.stdout.buffer)
            return
        part = target.with_name(f"{target.name}.part")
        try:
            stream = part.open("wb")
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(target)) from error
        try:
            with stream:
                size = await _write(client, wanted, fmt, stream)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    output.note(f"wrote {target} ({size / MEBIBYTE:.1f} MiB)")


async def _write(client: Client, wanted: RecordFilter, fmt: str, stream: BinaryIO) -> int:
    size = 0
    with progress("Exporting", None, "bytes") as shown:
        async for data in client.export(wanted, fmt):
            stream.write(data)
            size += len(data)
            shown.at(size)
    stream.flush()
    return size


# process
async def process_matching(order: ProcessOrder, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Process what matches, and say what became of it."""
    async with open_client(url, api_key) as client:
        answer = await _process_all(client, order)
    if json:
        output.as_json(answer)
    elif "counts" in answer:
        output.fields({"run": answer["run_id"], **{name: number(count) for name, count in answer["counts"].items()}})
    else:
        output.fields({"run": answer["run_id"], "matched": number(answer["matched"])})
        output.note(f"wait for it with `windlass runs wait {answer['run_id']}`")


async def _process_all(client: Client, order: ProcessOrder) -> Row:
    """Start a run over the records that match and, if wanted, wait for its end.

    Raises:
        CommandError: it failed or was cancelled, or has not ended in time.
    """
    started = await client.process_many(order.wanted, order.limit)
    if not order.wait:
        return started
    run_id, matched = started["run_id"], started["matched"]
    title = "Processing again" if order.retry else "Processing"
    with progress(title, matched, "records") as shown:
        run = await Watch(client, run_id, order.timeout).ended(shown, matched)
    if run["status"] != "succeeded":
        reason = (run["error"] or {}).get("message") or run["status_reason"]
        message = (
            f"run {run_id} {run['status']}: {reason}" if run["status"] == "failed" else f"run {run_id} was cancelled"
        )
        raise CommandError(ExitCode.FINDING, message, f"`windlass runs show {run_id}` tells more")
    counts: dict[str, int] = {}
    add_counts(counts, run["outputs"])
    return {**started, "counts": in_order(counts)}


def in_order(counts: Mapping[str, int]) -> dict[str, int]:
    """Return a run's counts in the order in which they are shown; PostgreSQL keeps none in JSON."""
    return {name: counts[name] for name in (*COUNTS, *sorted(counts.keys() - COUNTS)) if name in counts}


async def process_named(
    ids: Sequence[str], order: ProcessOrder, url: str | None, api_key: str | None, *, json: bool
) -> None:
    """Process single records, print them, and end with the code of the first that could not be."""
    found: list[Row] = []
    worst: CommandError | None = None
    async with open_client(url, api_key) as client:
        for record_id in ids:
            try:
                record = await client.process(record_id, retry=order.retry)
                if order.wait and "status" not in record:
                    await Watch(client, record["run_id"], order.timeout).ended()
                    record = await client.get_record(record_id)
                found.append(record)
            except (WindlassError, CommandError) as error:
                told = explain(error)
                output.note(f"{record_id}: {told.message}")
                worst = worst or told
    if json:
        output.as_json(found)
    elif found:
        names = ("id", "status", "category", "classification", "score", "error", "run_id")
        output.table(names, [[record.get(name) for name in names] for record in found], numbers=("score",))
    if worst is not None:
        raise typer.Exit(worst.code)


# summary
async def summarise(wanted: ReportFilter, form: str, url: str | None, api_key: str | None) -> None:
    """Print the summary as tables, JSON or CSV."""
    async with open_client(url, api_key) as client:
        found = await client.summary(wanted)
    if form == "json":
        output.as_json(found)
    elif form == "csv":
        from windlass.contexts.records.api import summary_csv

        sys.stdout.write(summary_csv(found, "\n"))
    else:
        _tables(found)


def _tables(found: Row) -> None:
    totals = found["totals"]
    most = totals["all"]
    rows = [(name, number(count), output.bar(count, most)) for name, count in totals.items()]
    output.table(("records", "count", ""), rows, numbers=("count",))
    for report, (title, name) in SECTIONS.items():
        section = found.get(report) or []
        if section:
            output.heading(title)
            _bars(name, section)
    durations = found.get("processing_ms") or {}
    if durations.get("count"):
        output.heading("Duration of processing, in milliseconds")
        output.table(list(durations), [[number(value) for value in durations.values()]], numbers=list(durations))


def _bars(name: str, section: Sequence[Row]) -> None:
    figures = [figure for figure in section[0] if figure != name]
    most = max(row["count"] for row in section)
    shown = section[-SHOWN:] if name in {"day", "hour"} else section[:SHOWN]
    rows = [
        (output.short(row[name], 60), *(number(row[figure]) for figure in figures), output.bar(row["count"], most))
        for row in shown
    ]
    output.table((name, *figures, ""), rows, numbers=figures)
    if len(section) > len(shown):
        print(f"… and {len(section) - len(shown)} more; --json and --csv show them")
