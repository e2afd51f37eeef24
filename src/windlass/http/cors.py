"""Pages of other sites: which of them a browser lets read answers. Requests that name no site cost nothing."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from windlass.http.middleware import header
from windlass.settings import Settings

OF_THIS_MACHINE = r"http://(localhost|127\.0\.0\.1)(:\d{1,5})?"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
ASKED = (
    "Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "X-API-Key", "X-Request-ID",
    "X-Workflow-Schedule-Id",
)  # fmt: skip
SHOWN = (
    "ETag", "Location", "Retry-After", "WWW-Authenticate", "X-RateLimit-Limit", "X-RateLimit-Remaining",
    "X-RateLimit-Reset", "X-Request-ID",
)  # fmt: skip
MINUTES = 10


class Cors:
    """Tells browsers which sites may read the answers.

    Args:
        app: what is behind.
        origins: the sites; ``*`` is every one.
        pattern: or a regular expression of them.
    """

    def __init__(self, app: ASGIApp, origins: tuple[str, ...], pattern: str | None) -> None:
        self._app = app
        self._asked = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_origin_regex=pattern,
            allow_methods=METHODS,
            allow_headers=ASKED,
            expose_headers=SHOWN,
            max_age=MINUTES * 60,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http" and header(scope, b"origin") is not None:
            await self._asked(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def sites(settings: Settings) -> tuple[tuple[str, ...], str | None] | None:
    """Return the sites whose pages may call, and a pattern of further ones; None when no other site may."""
    if settings.cors_origins:
        return None if settings.cors_origins == ("none",) else (settings.cors_origins, None)
    return ((), OF_THIS_MACHINE) if settings.app_env == "dev" else None
