"""Changes that are made only to what the client has seen: ``ETag`` and ``If-Match``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from starlette.requests import Request

from windlass.http.responses import Json
from windlass.kernel.errors import Stale


def tag_of(content: object) -> str:
    """Return the ETag of what is shown."""
    return f'"{hashlib.blake2b(bytes(Json(content).body), digest_size=12).hexdigest()}"'


def expected(request: Request, shown: Callable[[Any], object]) -> Callable[[Any], None] | None:
    """Return what refuses a thing that is not as ``If-Match`` says; None where nothing is said.

    Args:
        request: whose header counts.
        shown: what the tag of a thing is made of.
    """
    given = ",".join(request.headers.getlist("if-match"))
    known = {one.strip() for one in given.split(",")}
    if not given or "*" in known:
        return None

    def check(found: Any) -> None:
        if tag_of(shown(found)) not in known:
            raise Stale("It was changed since it was read: read it again, then decide anew")

    return check
