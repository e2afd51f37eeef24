"""Parts of files: what a Range header asks for, and whether what the client has is still the same."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote

from starlette.requests import Request

_RANGE = re.compile(r"bytes=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.ASCII | re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9!#$&+.^_`|~-]+")


class Part(NamedTuple):
    """A part of a file: its first byte and how many."""

    start: int
    length: int


class Unsatisfiable(ValueError):
    """A range that cannot be read, or that the file does not have."""


def asked_part(request: Request, size: int, etag: str | None) -> Part | None:
    """Return which part of a file is asked for; None is all of it.

    With ``If-Range`` a part is sent only of the very file that the client has begun with.

    Raises:
        Unsatisfiable: the range is no single one, or reaches beyond the end.
    """
    given = request.headers.getlist("range")
    if not given:
        return None
    condition = request.headers.get("if-range")
    if condition is not None and (etag is None or condition.strip() != etag):
        return None
    found = _RANGE.fullmatch(given[0]) if len(given) == 1 else None
    if found is None or found[1] == found[2] == "":
        raise Unsatisfiable
    if not found[1]:
        length = min(int(found[2]), size)
        if not length:
            raise Unsatisfiable
        return Part(size - length, length)
    start, end = int(found[1]), int(found[2]) if found[2] else size - 1
    if not start <= end < size:
        raise Unsatisfiable
    return Part(start, end - start + 1)


def unchanged(request: Request, etag: str | None) -> bool:
    """Say whether the client has the file already (``If-None-Match``)."""
    given = ",".join(request.headers.getlist("if-none-match"))
    if not given or etag is None:
        return False
    known = {one.strip().removeprefix("W/") for one in given.split(",")}
    return "*" in known or etag in known


def attachment(name: str) -> str:
    """Return a Content-Disposition that saves a file under a name; other than plain ones go by RFC 5987."""
    if _TOKEN.fullmatch(name):
        return f"attachment; filename={name}"
    if name.isascii() and name.isprintable():
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'attachment; filename="{escaped}"'
    return f"attachment; filename=download; filename*=UTF-8''{quote(name, safe='')}"
