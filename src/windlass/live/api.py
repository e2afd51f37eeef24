"""The door: what workflows say to those outside and hear from them, and ``Live``, which answers for their runs."""

from windlass.live.errors import (
    NoAnswer,
    QueryFailed,
    QueryRefused,
    StreamClosed,
    UpdateFailed,
    UpdateRefused,
    UpdateTimeout,
)
from windlass.live.publishing import publish
from windlass.live.queries import on_query
from windlass.live.rows import Page, Request
from windlass.live.service import Live
from windlass.live.streams import Stream, stream
from windlass.live.updates import Update, Updates, updates

__all__ = [
    "Live",
    "NoAnswer",
    "Page",
    "QueryFailed",
    "QueryRefused",
    "Request",
    "Stream",
    "StreamClosed",
    "Update",
    "UpdateFailed",
    "UpdateRefused",
    "UpdateTimeout",
    "Updates",
    "on_query",
    "publish",
    "stream",
    "updates",
]
