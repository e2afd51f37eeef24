"""Read a Debian package index: the `Packages` file of a mirror, or as apt keeps it under /var/lib/apt/lists.

An index is a text of paragraphs, one for each package, separated by empty lines (deb-control(5)). It is read as a
stream, plain or compressed with gzip, xz or lz4; which of them is told from its first bytes, not from its name.
"""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import lz4.frame  # type: ignore[import-untyped]

OPENERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x04\x22\x4d\x18": lz4.frame.open,
}
"""What a compressed file begins with, and what opens it."""


class BadIndex(ValueError):
    """The file is no package index; the message names the line."""


UNREADABLE = (BadIndex, OSError, EOFError, UnicodeDecodeError, zlib.error, lzma.LZMAError, RuntimeError)
"""What reading an index raises when the file is missing, damaged or something else; lz4 raises RuntimeError."""


def open_index(path: Path) -> IO[str]:
    """Open an index as text, whatever it is compressed with."""
    with path.open("rb") as file:
        start = file.read(max(map(len, OPENERS)))
    opener = next((opener for magic, opener in OPENERS.items() if start.startswith(magic)), open)
    text: IO[str] = opener(path, "rt", encoding="utf-8")
    return text


def paragraphs(lines: Iterator[str]) -> Iterator[list[str]]:
    """Yield each paragraph as its lines, without line ends."""
    paragraph: list[str] = []
    for line in lines:
        text = line.rstrip("\r\n")
        if text.strip():
            paragraph.append(text)
        elif paragraph:
            yield paragraph
            paragraph = []
    if paragraph:
        yield paragraph


def fields(paragraph: list[str]) -> dict[str, str]:
    """Return a paragraph's fields by name; a folded value is joined with line feeds.

    Raises:
        BadIndex: a line is neither a field nor the continuation of one.
    """
    found: dict[str, str] = {}
    name = ""
    for line in paragraph:
        if line[0] in " \t":
            if not name:
                raise BadIndex(f"a paragraph begins with a continuation: {line[:60]!r}")
            found[name] += "\n" + line[1:]
            continue
        name, colon, value = line.partition(":")
        if not colon or not name or name in found:
            raise BadIndex(f"expected `Name: value` once, found {line[:60]!r}")
        found[name] = value.strip()
    return found
