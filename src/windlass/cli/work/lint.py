"""What the commands of ``windlass workflows`` do without a server."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typer

from windlass.bootstrap.options import catalogue
from windlass.cli import output
from windlass.cli.exits import CommandError, ExitCode
from windlass.contexts.workflows.api import (
    Unreadable,
    position_of,
    preflight,
    read_with_positions,
    search,
    template_text,
    validate,
    whole_schema_of,
)

YAML = frozenset({".yaml", ".yml"})
_Path = tuple[str | int, ...]


class Source(NamedTuple):
    """A file that was read: its document, and where each part of it stands."""

    path: Path
    document: Any
    positions: Mapping[_Path, tuple[int, int]]

    def at(self, place: _Path) -> tuple[int, int]:
        """Return line and column of a part."""
        return position_of(dict(self.positions), place)


class Complaint(NamedTuple):
    """Something wrong with a file."""

    file: str
    line: int
    column: int
    severity: str
    path: str
    code: str
    message: str

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{self.file}:{self.line}:{self.column}: {self.severity}: {where}{self.message} [{self.code}]"


def read_file(path: Path) -> Source | Complaint:
    """Return a file, or why it is no document.

    Raises:
        CommandError: the file cannot be read.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CommandError(ExitCode.NOT_FOUND, f"{path} cannot be read: {error.strerror}") from None
    try:
        document, positions = read_with_positions(raw, yaml=path.suffix.lower() in YAML)
    except Unreadable as unreadable:
        fault = unreadable.fault
        place = ".".join(map(str, fault.path))
        return Complaint(str(path), fault.line, fault.column, "error", place, "unreadable", fault.message)
    return Source(path, document, positions)


def lint(files: Sequence[Path], *, strict: bool, json: bool) -> None:
    """Check files; ends with exit code 1 when something is wrong."""
    complaints: list[Complaint] = []
    for path in files:
        found = read_file(path)
        complaints += [found] if isinstance(found, Complaint) else _complaints(found, strict=strict)
    if json:
        output.as_json([complaint._asdict() for complaint in complaints])
    else:
        for complaint in complaints:
            print(complaint)
    if not complaints:
        output.note(f"{len(files)} {'file is' if len(files) == 1 else 'files are'} fine")
        return
    raise typer.Exit(ExitCode.FINDING)


def _complaints(source: Source, *, strict: bool) -> Iterable[Complaint]:
    known = catalogue()
    for finding in validate(source.document, known):
        line, column = source.at(finding.place)
        yield Complaint(str(source.path), line, column, "error", finding.path, finding.code, finding.message)
    warnings = preflight(source.document, known)["warnings"] if strict else ()
    for warning in warnings:
        steps, place, *field = warning["path"].split(".")
        line, column = source.at((steps, int(place), *field))
        yield Complaint(str(source.path), line, column, "warning", warning["path"], warning["code"], warning["message"])


def templates(name: str | None, tag: str | None, *, json: bool) -> None:
    """Print a template, or the list of them."""
    if name is not None:
        sys.stdout.write(template_text(name).decode())
        return
    found = search(tag=tag)
    if json:
        output.as_json([template.shown() for template in found])
    else:
        rows = [(template.name, template.title, ", ".join(template.tags)) for template in found]
        output.table(("name", "title", "tags"), rows)


def schema() -> None:
    """Print the JSON Schema of the format."""
    import orjson

    made = whole_schema_of(catalogue())
    sys.stdout.write(orjson.dumps(made, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode())
