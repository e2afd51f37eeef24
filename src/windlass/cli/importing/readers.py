"""Records out of NDJSON, a JSON array or CSV, one at a time."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence

import orjson

from windlass.cli.importing.array import ArrayCutter
from windlass.cli.importing.items import (
    EXPORTED,
    FIELDS,
    JSON_SPACE,
    Item,
    Refused,
    item,
    on_one_line,
    read_object,
    shown,
)
from windlass.cli.importing.source import LINE_LIMIT, BadInput, Source

Records = Iterator[Item | Refused]


def read(source: Source, fmt: str, defaults: Mapping[str, str]) -> Records:
    """Yield the records of a source.

    Args:
        source: where from.
        fmt: ``ndjson``, ``json`` or ``csv``.
        defaults: ``source`` and ``category`` for records that have none.

    Raises:
        BadInput: nothing can be read from some line on.
    """
    return _READERS[fmt](source, defaults)


def read_ndjson(source: Source, defaults: Mapping[str, str]) -> Records:
    """Yield a record a line; empty lines are passed over."""
    for number, line in source.lines():
        if line is None:
            yield Refused(number, None, f"longer than {LINE_LIMIT} bytes")
        elif line.strip(JSON_SPACE):
            yield item(number, line, defaults)


def read_array(source: Source, defaults: Mapping[str, str]) -> Records:
    """Yield the elements of a JSON array, however they are spread over lines."""
    for number, raw in ArrayCutter(source).elements():
        yield item(number, raw, defaults)


def read_csv(source: Source, defaults: Mapping[str, str]) -> Records:
    """Yield a record a row: ``source``, ``category`` and either ``payload`` as JSON or the other columns as payload.

    Cells of a payload are text; an empty one is left out. Of the columns of an export those of the server are passed
    over.
    """
    csv.field_size_limit(LINE_LIMIT)
    rows = csv.reader(_text_lines(source), strict=True)
    try:
        header = next(rows, [])
        place = _columns(header, defaults)
        while True:
            line = rows.line_num + 1
            row = next(rows, None)
            if row is None:
                return
            if row:
                yield _row(line, header, row, place, defaults)
    except csv.Error as error:
        raise BadInput(rows.line_num, f"no CSV: {error}") from error


def _text_lines(source: Source) -> Iterator[str]:
    for number, line in source.lines():
        if line is None:
            raise BadInput(number, f"longer than {LINE_LIMIT} bytes")
        yield line.decode(errors="surrogateescape") + "\n"


def _columns(header: Sequence[str], defaults: Mapping[str, str]) -> dict[str, int]:
    """Return where the fields are.

    Raises:
        BadInput: a column is missing or there twice, or there is a payload beside columns that would be one.
    """
    place = {name: index for index, name in enumerate(header)}
    if len(place) < len(header) or "" in place:
        twice = next((name for name in header if header.count(name) > 1), "")
        raise BadInput(1, f"column {twice!r} is there twice" if twice else "a column has no name")
    for name in FIELDS[:2]:
        if name not in place and name not in defaults:
            raise BadInput(1, f"column {name!r} is missing", f"add it, or give every record one with --{name}")
    others = [] if place.keys() == EXPORTED else [name for name in header if name not in FIELDS]
    if "payload" in place and others:
        raise BadInput(1, f"column {others[0]!r} is beside 'payload'", "the payload is one column or all the others")
    if "payload" not in place and not others:
        raise BadInput(1, "there is no column for the payload")
    return place


def _row(
    line: int, header: Sequence[str], row: Sequence[str], place: Mapping[str, int], defaults: Mapping[str, str]
) -> Item | Refused:
    text = ",".join(row)
    if len(row) != len(header):
        return Refused(line, None, f"{len(row)} cells where the header has {len(header)}", text[:2000])
    for name, cell in zip(header, row, strict=True):
        if not cell.isascii() and any("\udc80" <= character <= "\udcff" for character in cell):
            return Refused(line, name, "not valid UTF-8", text[:2000].encode(errors="replace").decode())
    names = {name: (row[place[name]] if name in place else "") or defaults.get(name, "") for name in FIELDS[:2]}
    if "payload" in place:
        payload = row[place["payload"]].encode().strip(JSON_SPACE) or b"{}"
        found = read_object(payload)
        if isinstance(found, str):
            return Refused(line, "payload", found, shown(payload))
    else:
        cells = zip(header, row, strict=True)
        payload = orjson.dumps({name: cell for name, cell in cells if name not in FIELDS and cell})
    return Item(line, orjson.dumps(names)[:-1] + b',"payload":' + on_one_line(payload) + b"}")


_READERS: dict[str, Callable[[Source, Mapping[str, str]], Records]] = {
    "ndjson": read_ndjson,
    "json": read_array,
    "csv": read_csv,
}
