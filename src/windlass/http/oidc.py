"""Routes of logins at a provider of OpenID Connect: there with a browser, and back with tokens."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.contexts.identity.api import COOKIE_SECONDS
from windlass.http.access import NOBODY
from windlass.http.auth import NO_STORE, tokens
from windlass.http.logs import REQUEST_ID
from windlass.http.query import free, read_query
from windlass.http.routing import DirectRoute, application, route
from windlass.http.schemas import TokenAnswer
from windlass.settings import Settings

COOKIE = "windlass_oidc"
PLACE = "/auth/oidc"
CALLBACK = f"{PLACE}/callback"
ANSWER = [
    free("code", "What the provider exchanges for its word on who has logged in"),
    free("state", "What it was asked with"),
    free("error", "Why nobody has"),
]


async def begin(request: Request) -> Response:
    """Go to the login provider.

    The browser keeps a signed cookie for ten minutes, so that only it can come back with the answer.
    """
    read_query(request, ())
    settings: Settings = request.app.state.settings
    back = settings.oidc_redirect_url or f"{str(request.base_url).rstrip('/')}{CALLBACK}"
    begun = await application(request).identity.begin_external_login(back)
    answer = RedirectResponse(begun.address, 302, NO_STORE)
    secure = back.startswith("https://")
    answer.set_cookie(
        COOKIE, begun.kept, max_age=COOKIE_SECONDS, path=PLACE, secure=secure, httponly=True, samesite="lax"
    )
    return answer


async def finish(request: Request) -> Response:
    """Come back from the login provider, and get tokens as after a login with a password."""
    given = request.query_params
    said = {name: given[name] for name in given if len(given.getlist(name)) == 1}
    token = await application(request).identity.finish_external_login(
        request.cookies.get(COOKIE), said, REQUEST_ID.get()
    )
    answer = tokens(token)
    answer.delete_cookie(COOKIE, path=PLACE)
    return answer


def routes() -> list[DirectRoute]:
    """Return the routes."""
    there = {"description": "The login provider", "headers": {"Location": {"schema": {"type": "string"}}}}
    return [
        route("GET", f"{PLACE}/login", begin, tag="auth", answers={302: there}, errors=(404, 422, 429),
              access=NOBODY),
        route("GET", CALLBACK, finish, tag="auth", answers={200: TokenAnswer}, errors=(401, 403, 404, 422, 429),
              parameters=ANSWER, access=NOBODY),
    ]  # fmt: skip
