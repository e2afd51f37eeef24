"""Who is calling under ``/api/v1``."""

from __future__ import annotations

from starlette.requests import Request

from windlass.http.errors import Unauthorized
from windlass.kernel.actors import DEVELOPER, Actor
from windlass.settings import Settings

KEEPER = Actor("api-key", "api-key", role="admin", kind="api_key")
"""Who carries the API key."""


async def caller(request: Request) -> Actor:
    """Return who is calling.

    Raises:
        Unauthorized: no credential, or one that is not known.
    """
    settings: Settings = request.app.state.settings
    if settings.api_key is None:
        return DEVELOPER
    if request.headers.get("x-api-key") == settings.api_key.get_secret_value():
        return KEEPER
    raise Unauthorized("API key required")
