"""Turn a Debian package index into records, one JSON object a line.

    python -m examples.debian.convert Packages.xz --output debian.ndjson

The entries keep what they say: nothing is repaired or left out here, judging them is the processor's work (`app.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from examples.debian.packages import UNREADABLE, BadIndex, fields, open_index, paragraphs

KEPT = {
    "Package": "package",
    "Version": "version",
    "Architecture": "architecture",
    "Maintainer": "maintainer",
    "Description": "synopsis",
    "Section": "section",
    "Priority": "priority",
    "Essential": "essential",
    "Homepage": "homepage",
    "Depends": "depends",
    "Installed-Size": "installed_size",
    "Size": "size",
    "SHA256": "sha256",
}
"""The fields that matter to the processor, and what they are called in a payload; their values stay text."""

NO_SECTION = "none"
SOURCE = "debian"


def record(entry: dict[str, str], source: str = SOURCE) -> dict[str, object]:
    """Return an entry of the index as a record: its section is the category.

    Only the first line of a description is kept: the synopsis, which is all a `Packages` file has of it today.

    Raises:
        BadIndex: the entry is none of a package.
    """
    if not entry.get("Package"):
        raise BadIndex(f"an entry without a package: {', '.join(entry)}"[:120])
    payload = {name: entry[field].partition("\n")[0] for field, name in KEPT.items() if field in entry}
    return {"source": source, "category": entry.get("Section") or NO_SECTION, "payload": payload}


def records(lines: Iterable[str], source: str = SOURCE) -> Iterator[dict[str, object]]:
    """Yield the records of an index as it is read."""
    return (record(fields(paragraph), source) for paragraph in paragraphs(iter(lines)))


@contextmanager
def _output(path: Path | None) -> Iterator[IO[str]]:
    """Open the output; a file appears under its name only when it is complete."""
    if path is None:
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
        yield sys.stdout
        return
    growing = path.with_name(path.name + ".part")
    try:
        with growing.open("w", encoding="utf-8") as file:
            yield file
        growing.replace(path)
    finally:
        growing.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """Convert the file of the arguments; return the exit code."""
    parser = argparse.ArgumentParser(description="Turn a Debian package index into records, one JSON object a line.")
    parser.add_argument("index", type=Path, help="a Packages file: plain, gz, xz or lz4")
    parser.add_argument("--output", type=Path, help="where to write; standard output when left out")
    parser.add_argument("--source", default=SOURCE, help="the records' source (%(default)s)")
    options = parser.parse_args(arguments)
    count = 0
    try:
        with open_index(options.index) as lines, _output(options.output) as out:
            for one in records(lines, options.source):
                out.write(json.dumps(one, ensure_ascii=False, separators=(",", ":")) + "\n")
                count += 1
            out.flush()
    except BrokenPipeError:
        # Whoever read the output has enough; what is still buffered goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except UNREADABLE as error:
        print(f"{options.index}: {error}", file=sys.stderr)
        return 1
    if options.output:
        print(f"{count} records in {options.output}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
