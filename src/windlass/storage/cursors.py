"""Cursors of lists: where a page ends, as a text that clients give back and do not read."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, TypeVar

import orjson

from windlass.kernel.errors import Issue, ValidationFailed

T = TypeVar("T")
NO_CURSOR = "Input should be a cursor that a list has answered"


def pack(position: object) -> str:
    """Return a position, which is JSON data, as unpadded base64url of JSON."""
    return base64.urlsafe_b64encode(orjson.dumps(position)).rstrip(b"=").decode()


def unpack(cursor: str, read: Callable[[Any], T]) -> T:
    """Return the position in a cursor.

    Args:
        cursor: what a client gave back.
        read: takes the position out of the data; raises ValueError, TypeError or LookupError when it is none.

    Raises:
        ValidationFailed: it is no cursor.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return read(orjson.loads(text))
    except (ValueError, TypeError, LookupError):
        raise refused(NO_CURSOR) from None


def refused(message: str) -> ValidationFailed:
    """Return the error of a cursor that is none of this list."""
    return ValidationFailed([Issue(("query", "cursor"), message, "cursor_invalid")])
