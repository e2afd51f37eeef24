"""The permission matrix: every route below /api/v1 says what it asks for, and lets nobody else pass."""

import re
from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.support.apps import Served, serving
from windlass.http.access import ADMIN_ROLE, GUARDED
from windlass.http.routing import DirectRoute
from windlass.kernel.actors import PERMISSIONS, Actor

OPERATOR = Actor("operator", "ann", role="admin", kind="operator")
ANYTHING = "1"
REFUSALS = {401, 403}


@pytest.fixture
async def guarded(migrated_sqlite_url: str) -> AsyncIterator[Served]:
    """The started application, where callers are asked who they are."""
    async with serving(migrated_sqlite_url, worker=False, api_key="s3cret-key") as running:
        yield running


def routes_of(served: Served) -> list[DirectRoute]:
    """Every route below /api/v1, whoever made it."""
    below = [route for route in served.app.router.routes if getattr(route, "path", "").startswith(GUARDED)]
    http = [route for route in below if "websocket" not in type(route).__name__.lower()]
    found = [route for route in http if isinstance(route, DirectRoute)]
    assert found == http, "a route that is no DirectRoute is not guarded"
    return found


async def call(served: Served, route: DirectRoute, headers: dict[str, str] | None = None) -> httpx2.Response:
    """Call a route with nothing but a caller."""
    [method] = route.methods or ("GET",)
    path = re.sub(r"{[^}]+}", ANYTHING, route.path)
    return await served.client.request(method, path, headers=headers)


async def key(served: Served, *permissions: str) -> dict[str, str]:
    """The headers of a service key that has some permissions and no role."""
    return {"X-API-Key": (await served.inside.identity.add_key(OPERATOR, "k", permissions=permissions)).text}


async def test_every_route_says_what_it_asks_for(guarded: Served) -> None:
    silent = [f"{route.methods} {route.path}" for route in routes_of(guarded) if not route.declared]

    assert len(routes_of(guarded)) > 3
    assert silent == [], "say access=… where these routes are made (http/access.py)"


async def test_what_is_asked_for_can_be_granted(guarded: Served) -> None:
    asked = {permission for route in routes_of(guarded) for permission in route.access.permissions}

    assert asked <= PERMISSIONS.keys()


async def test_without_a_credential_every_route_is_closed(guarded: Served) -> None:
    for route in routes_of(guarded):
        answer = await call(guarded, route)
        if route.access.public:
            assert answer.status_code not in REFUSALS, route.path
            continue
        body = answer.json()
        assert (answer.status_code, body["detail"], body["code"]) == (401, "Not authenticated", "UNAUTHORIZED")
        assert answer.headers["www-authenticate"] == "Bearer"
        wrong = await call(guarded, route, {"X-API-Key": "wrong"})
        assert (wrong.status_code, wrong.json()["detail"]) == (401, "Could not validate credentials"), route.path


async def test_each_missing_permission_closes_a_route(guarded: Served) -> None:
    for route in routes_of(guarded):
        access = route.access
        for missing in access.permissions:
            headers = await key(guarded, *(name for name in access.permissions if name != missing))
            answer = await call(guarded, route, headers)
            assert (answer.status_code, answer.json()["detail"]) == (403, f"Permission denied: missing {missing}"), (
                route.path
            )
        if access.admin:
            answer = await call(guarded, route, await key(guarded, *access.permissions))
            assert (answer.status_code, answer.json()["detail"]) == (403, ADMIN_ROLE), route.path


async def test_who_has_what_is_asked_for_is_let_in(guarded: Served) -> None:
    for route in routes_of(guarded):
        enough = [await key(guarded, "*"), {"X-API-Key": "s3cret-key"}]
        if not route.access.admin:
            enough.append(await key(guarded, *route.access.permissions))
        for headers in enough:
            assert (await call(guarded, route, headers)).status_code not in REFUSALS, route.path


async def test_the_description_says_what_may_be_refused(guarded: Served) -> None:
    document = (await guarded.client.get("/openapi.json")).json()

    for route in routes_of(guarded):
        [method] = route.methods or ("GET",)
        operation = document["paths"][route.path_format][method.lower()]
        assert ("security" in operation) == (not route.access.public), route.path
        assert route.access.public or {int(status) for status in operation["responses"]} >= REFUSALS, route.path
