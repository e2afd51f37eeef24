"""Routes of the limits that runs of definitions share."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from windlass.http.access import needs
from windlass.http.bodies import Field, media, read_body
from windlass.http.callers import caller
from windlass.http.query import read_query
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, application, route
from windlass.http.shapes import answer
from windlass.kernel.actors import WORKFLOWS_ADMIN
from windlass.kernel.checks import MOST_PLACES
from windlass.storage.limits import HEAVIEST, LimitView

LIMITS = "/api/v1/workflows/limits"
NAME = r"^(tenant|workflow|key):[A-Za-z0-9_.~%:-]{1,2000}$"
CHANGES = {
    "limit": Field({"type": "integer", "minimum": 1, "maximum": MOST_PLACES}),
    "weight": Field({"type": "integer", "minimum": 1, "maximum": HEAVIEST}),
}
_COUNT: dict[str, Any] = {"type": ["integer", "null"]}
LIMIT: dict[str, Any] = {
    "name": {"type": "string"}, "limit": _COUNT, "set": {"type": "boolean"}, "running": {"type": "integer"},
    "weight": _COUNT,
}  # fmt: skip


async def listing(request: Request) -> Response:
    """List the limits that are set or in use, and tenants with a weight; a workflows admin sees those of its tenant."""
    read_query(request, ())
    found = await application(request).workflows.concurrency.all(await caller(request))
    return Json({"limits": [_shown(view) for view in found]})


async def change(request: Request) -> Response:
    """Set a limit, or the weight of a tenant, at once and over all processes; runs that were waiting start."""
    read_query(request, ())
    actor = await caller(request)
    asked = read_body(await request.body(), CHANGES)
    service, name = application(request).workflows.concurrency, request.path_params["name"]
    return Json(_shown(await service.change(actor, name, most=asked.get("limit"), weight=asked.get("weight"))))


async def clear(request: Request) -> Response:
    """Go back to the limit of the settings, and of a tenant to weight 1."""
    read_query(request, ())
    service = application(request).workflows.concurrency
    return Json(_shown(await service.clear(await caller(request), request.path_params["name"])))


def _shown(view: LimitView) -> dict[str, Any]:
    return view._asdict()


def routes() -> list[DirectRoute]:
    """Return the routes."""
    common: dict[str, Any] = {"tag": "workflow limits", "access": needs(WORKFLOWS_ADMIN)}
    every = answer("Limits", {"limits": {"type": "array", "items": {"type": "object", "properties": LIMIT}}})
    one = answer("A limit", LIMIT)
    return [
        route("GET", LIMITS, listing, answers={200: every}, errors=(422,), **common),
        route("PUT", f"{LIMITS}/{{name}}", change, answers={200: one}, errors=(400, 404, 413, 422), body=media(CHANGES),
              path_pattern=NAME, **common),
        route("DELETE", f"{LIMITS}/{{name}}", clear, answers={200: one}, errors=(400, 404, 422), path_pattern=NAME,
              **common),
    ]  # fmt: skip
