"""The route that is found by how a path begins is the one that asking all in turn comes to."""

import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match

from windlass.http.app import create_app
from windlass.http.finding import Finder
from windlass.http.routing import DirectRoute, route
from windlass.settings import load

VALUES = ("7", "runs", "a-b", "_byname")
"""What stands where a template has a parameter; some of it is a word of other templates."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    folder: Path = tmp_path_factory.mktemp("finding")
    return create_app(load(database_url=f"sqlite:///{folder}/some.db"))


def asked_in_turn(routes: list[BaseRoute], method: str, path: str) -> BaseRoute | None:
    scope = {"type": "http", "method": method, "path": path, "headers": []}
    direct = (route for route in routes if isinstance(route, DirectRoute))
    return next((route for route in direct if route.matches(scope)[0] is Match.FULL), None)


def found_at_once(app: FastAPI, method: str, path: str) -> BaseRoute | None:
    (finder,) = (route for route in app.router.routes if isinstance(route, Finder))
    match, scope = finder.matches({"type": "http", "method": method, "path": path, "headers": []})
    found: BaseRoute | None = scope.get("route")
    assert (match is Match.FULL) == (found is not None)
    return found


def paths(template: str) -> set[str]:
    """Return paths of a template, and some that are nearly its."""
    of_it = {re.sub(r"{[^}]+}", value, template) for value in VALUES}
    return of_it | {path + end for path in of_it for end in ("/", "/more", "x")} | {re.sub(r"{[^}]+}", "a/b", template)}


def test_every_path_finds_the_route_that_is_first_in_turn(app: FastAPI) -> None:
    routes = app.router.routes
    templates = {route.path for route in routes if isinstance(route, DirectRoute)}
    requests = {(method, path) for one in templates for path in paths(one) for method in ("GET", "POST", "PATCH")}

    answers = {request: asked_in_turn(routes, *request) for request in requests}

    assert {request: found_at_once(app, *request) for request in requests} == answers
    assert len({id(route) for route in answers.values() if route is not None}) > 100
    assert None in answers.values()


def test_it_is_asked_first_and_asks_few(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(app.router.routes[0], Finder)
    asked: list[str] = []
    matches = DirectRoute.matches

    def counted(self: DirectRoute, scope: dict[str, object]) -> object:
        asked.append(self.path)
        return matches(self, scope)

    monkeypatch.setattr(DirectRoute, "matches", counted)
    for method, path, most in (("POST", "/records", 3), ("GET", "/api/v1/workflows/runs/7/events", 9)):
        asked.clear()
        assert found_at_once(app, method, path) is not None
        assert len(asked) <= most


def test_a_route_that_comes_later_is_found(app: FastAPI) -> None:
    async def late(_: Request) -> Response:
        """Answer."""
        return Response()

    assert found_at_once(app, "GET", "/late") is None
    app.router.routes.append(one := route("GET", "/late", late, tag="t", answers={200: {}}))
    assert found_at_once(app, "GET", "/late") is one
