"""What is read of a stream that a run writes."""

from __future__ import annotations

from typing import Any, NamedTuple


class StreamItem(NamedTuple):
    """An item of a stream; ``offset`` counts 0, 1, 2 … without gaps.

    ``step`` is the path of the step that wrote it and ``attempt`` its number, from 1: an attempt that failed has left
    its items, and the next begins anew. Both are None for what the workflow itself wrote. ``at`` is ISO 8601.
    """

    offset: int
    value: Any
    step: str | None
    attempt: int | None
    at: str
