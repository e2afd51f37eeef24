"""Take some entries evenly from a Debian package index, as they are: this made `sample/Packages.xz`.

python -m examples.debian.sampling Packages.lz4 2000 examples/debian/sample/Packages.xz
"""

from __future__ import annotations

import argparse
import lzma
import sys
from pathlib import Path

from examples.debian.packages import UNREADABLE, open_index, paragraphs


def take_evenly(index: Path, wanted: int, output: Path) -> int:
    """Write `wanted` entries of an index, at equal distances, to an xz file; return how many the index has.

    Raises:
        ValueError: the index has fewer entries.
    """
    with open_index(index) as lines:
        total = sum(1 for _ in paragraphs(lines))
    if total < wanted:
        raise ValueError(f"{index} has {total} entries")
    chosen = {number * total // wanted for number in range(wanted)}
    with open_index(index) as lines, lzma.open(output, "wt", encoding="utf-8", preset=9 | lzma.PRESET_EXTREME) as out:
        for number, paragraph in enumerate(paragraphs(lines)):
            if number in chosen:
                out.write("\n".join(paragraph) + "\n\n")
    return total


def main(arguments: list[str] | None = None) -> int:
    """Make the sample of the arguments; return the exit code."""
    parser = argparse.ArgumentParser(description="Take some entries evenly from a Debian package index.")
    parser.add_argument("index", type=Path, help="a Packages file: plain, gz, xz or lz4")
    parser.add_argument("entries", type=int, help="how many to take")
    parser.add_argument("output", type=Path, help="where to write; compressed with xz")
    options = parser.parse_args(arguments)
    try:
        total = take_evenly(options.index, options.entries, options.output)
    except (*UNREADABLE, ValueError) as error:
        print(f"{options.index}: {error}", file=sys.stderr)
        return 1
    print(f"{options.entries} of {total} entries in {options.output}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
