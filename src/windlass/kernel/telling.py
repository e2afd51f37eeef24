"""What exceptions say, in characters that can be kept."""

from __future__ import annotations

import traceback

MESSAGE_LENGTH = 2000
TRACE_LENGTH = 4000


def told(error: BaseException) -> str:
    """Return what an exception says, in characters that JSON and every database can keep."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  whatever is wrong with it, its run must end
        text = "its message cannot be told"
    return storable(text[:MESSAGE_LENGTH])


def trace(error: BaseException) -> str:
    """Return the last lines of a traceback, for people who look at the journal."""
    return storable("".join(traceback.format_exception(error))[-TRACE_LENGTH:])


def storable(text: str) -> str:
    """Return text with what cannot be kept (NUL, half a surrogate pair) written as its escape."""
    return text.replace("\0", "\\x00").encode(errors="backslashreplace").decode()
