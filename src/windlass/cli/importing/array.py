"""Cutting a JSON array of any length into its elements, as they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator

from windlass.cli.importing.items import JSON_SPACE
from windlass.cli.importing.source import LINE_LIMIT, BadInput, Source

_STRING = re.compile(rb'["\\]')
_TOP = re.compile(rb'["{}\[\],]')
_DEEP = re.compile(rb'["{}\[\]]')


class ArrayCutter:
    """Looks only at what opens, closes and separates, and keeps no more than one element and a chunk."""

    def __init__(self, source: Source) -> None:
        self._chunks = source.chunks()
        self._data = b""
        self._start = 0
        self._line = 1

    def elements(self) -> Iterator[tuple[int, bytes]]:
        """Yield the line each element begins on, and its text.

        Raises:
            BadInput: this is no array, or it is cut off.
        """
        if self._skip_space() != b"[":
            raise BadInput(self._line, "a JSON import is an array of records", "one record a line is --format ndjson")
        self._start += 1
        first, mark = True, b","
        while mark == b",":
            end, mark = self._end_of_element()
            raw = self._data[self._start : end]
            blank = len(raw) - len(raw.lstrip(JSON_SPACE))
            here = self._line + raw.count(b"\n", 0, blank)
            if mark == b"}" or (blank == len(raw) and not (first and mark == b"]")):
                raise BadInput(here, f"unexpected {mark.decode()!r}")
            if blank < len(raw):
                yield here, raw
            self._line += raw.count(b"\n")
            self._start = end + 1
            first = False
        if self._skip_space():
            raise BadInput(self._line, "something follows the end of the array")

    def _end_of_element(self) -> tuple[int, bytes]:
        """Return where the element that begins at ``start`` ends, and the mark that ends it."""
        at, depth, quoted = self._start, 0, False
        while True:
            found = (_STRING if quoted else _DEEP if depth else _TOP).search(self._data, at)
            if found is None:
                at = self._refill(len(self._data))
                continue
            mark, at = found[0], found.end()
            if mark == b"\\":
                while at >= len(self._data):
                    at = self._refill(at)
                at += 1
            elif mark == b'"':
                quoted = not quoted
            elif mark in b"{[":
                depth += 1
            elif depth:
                depth -= 1
            else:
                return found.start(), mark

    def _refill(self, at: int) -> int:
        """Read on, forgetting what lies before the element; returns where ``at`` is now."""
        more = next(self._chunks, b"")
        if not more:
            line = self._line + self._data.count(b"\n", self._start)
            raise BadInput(line, "the array is not closed: something is missing")
        if len(self._data) - self._start > LINE_LIMIT:
            raise BadInput(self._line, f"a record is longer than {LINE_LIMIT} bytes")
        at -= self._start
        self._data, self._start = self._data[self._start :] + more, 0
        return at

    def _skip_space(self) -> bytes:
        """Go to the next byte that is no white space and return it; nothing at the end."""
        while True:
            rest = self._data[self._start :].lstrip(JSON_SPACE)
            passed = len(self._data) - len(rest)
            self._line += self._data.count(b"\n", self._start, passed)
            if rest:
                self._start = passed
                return rest[:1]
            self._data, self._start = next(self._chunks, b""), 0
            if not self._data:
                return b""
