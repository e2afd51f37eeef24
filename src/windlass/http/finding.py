"""Finding the route of a request without asking a hundred and fifty of them whether it is theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from windlass.http.routing import DirectRoute

_Place = tuple[int, DirectRoute]
_ANY = -1
"""In place of a number of slashes, where a parameter may have some."""


class Finder(BaseRoute):
    """A route before all others that stands for that of them which would be the first to take a request.

    Routes are known by how their paths begin, up to the first parameter, and by how many slashes they have. A request
    asks those that begin as its own path does up to one of its slashes. What none of them takes is left to the others.

    Args:
        routes: those of the application, in order; the list may still grow.
    """

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes = routes
        self._known = 0
        self._begun: dict[tuple[str, int], list[_Place]] = {}

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return what the first route that takes the whole request says of it."""
        if scope["type"] != "http" or scope.get("root_path"):
            return Match.NONE, {}
        if self._known != len(self._routes):
            self._learn()
        for _, route in sorted(self._candidates(scope["path"]), key=_order):
            match, found = route.matches(scope)
            if match is Match.FULL:
                return match, found
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the route handle the request that takes it."""
        route: DirectRoute = scope["route"]
        await route.handle(scope, receive, send)

    def _candidates(self, path: str) -> list[_Place]:
        begun, slashes = self._begun, path.count("/")
        found = [*begun.get((path, slashes), ()), *begun.get((path, _ANY), ())]
        slash = path.find("/")
        while slash != -1:
            begins = path[: slash + 1]
            if begins != path:
                found += begun.get((begins, slashes), ())
                found += begun.get((begins, _ANY), ())
            slash = path.find("/", slash + 1)
        return found

    def _learn(self) -> None:
        self._known = len(self._routes)
        self._begun = {}
        for place, route in enumerate(self._routes):
            if isinstance(route, DirectRoute):
                slashes = _ANY if ":path}" in route.path else route.path.count("/")
                self._begun.setdefault((route.begins, slashes), []).append((place, route))


def _order(candidate: tuple[int, Any]) -> int:
    return candidate[0]
