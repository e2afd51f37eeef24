"""Answers made with orjson, and the streams of exports."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from starlette.responses import Response

DETAILED = ("/api/v1/", "/auth/", "/candidates", "/api/providers/")
"""Errors below these are ``{"detail", "code", "request_id"}``; elsewhere they have an envelope."""
_OPTIONS = orjson.OPT_NON_STR_KEYS


class Json(Response):
    """A JSON answer."""

    media_type = "application/json"

    def __init__(self, content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(orjson.dumps(content, option=_OPTIONS), status, headers)
