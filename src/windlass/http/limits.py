"""Routes of limits: what is in force, what is used, and changes while all is running."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from windlass.contexts.limits.api import MOST, Limit
from windlass.http.access import ANYBODY, needs
from windlass.http.bodies import Field, media, read_body, text
from windlass.http.callers import caller
from windlass.http.query import Parameter, choice, free, integer, read_query
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, application, route
from windlass.http.shapes import answer
from windlass.kernel.actors import WORKFLOWS_ADMIN
from windlass.kernel.errors import Invalid, Issue, ValidationFailed

PATH = "/api/v1/workflows/quotas"
OWN = [limit.value for limit in Limit if limit is not Limit.DEPTH_ALL]
CHANGE = {
    "limit": Field({"type": "string", "enum": OWN}, required=True),
    "value": Field({"type": "integer", "minimum": 0, "maximum": MOST}),
    "unlimited": Field({"type": "boolean"}),
    "user_id": Field(text(255)),
}
LIST: list[Parameter] = [
    integer("limit", "Limits on a page", least=1, default=100, cap=500),
    free("cursor", "The `next_cursor` of the page before"),
]
USER = [free("user_id", "Whose; without it the limits of all users of the tenant")]
WHICH: list[Parameter] = [choice("limit", OWN, "Which limit", None), *USER]
_TEXT: dict[str, Any] = {"type": "string"}
_MAYBE: dict[str, Any] = {"anyOf": [{"type": "integer"}, {"type": "null"}]}


async def listing(request: Request) -> Response:
    """List limits other than the settings': those of the caller's tenant, and those of all tenants (`*`)."""
    actor = await caller(request)
    asked = read_query(request, LIST)
    after = () if asked["cursor"] is None else _position(asked["cursor"])
    found = await application(request).limits.overrides(actor, after=after, limit=asked["limit"] + 1)
    page = found[: asked["limit"]]
    cursor = None
    if len(found) > len(page):
        last = [page[-1][name] for name in ("tenant_id", "user_id", "limit")]
        cursor = base64.urlsafe_b64encode(orjson.dumps(last)).rstrip(b"=").decode()
    return Json({"overrides": page, "next_cursor": cursor})


def _position(cursor: str) -> tuple[str, str, str]:
    try:
        tenant, user, limit = orjson.loads(
            base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        )
        return str(tenant), str(user), str(limit)
    except (binascii.Error, ValueError, TypeError):
        message = "Input should be a cursor that a list has answered"
        raise ValidationFailed([Issue(("query", "cursor"), message, "cursor_invalid")]) from None


async def usage(request: Request) -> Response:
    """Say which limits are in force for the caller, or for administrators those of `user_id`, and what is used."""
    actor = await caller(request)
    user_id = read_query(request, USER)["user_id"] or actor.user_id
    return Json({"user_id": user_id, "limits": await application(request).limits.standing(actor, user_id)})


async def change(request: Request) -> Response:
    """Set a limit of a user, or without `user_id` of all users of the tenant; it is in force at once."""
    actor = await caller(request)
    read_query(request, ())
    asked = read_body(await request.body(), CHANGE)
    value = asked.get("value")
    if (value is None) == (not asked.get("unlimited")):
        raise Invalid("give value, or unlimited as true", field="value")
    limits = application(request).limits
    return Json(await limits.change(actor, asked["limit"], value, asked.get("user_id")))


async def clear(request: Request) -> Response:
    """Take such a limit away: the tenant's, or the settings', is in force again."""
    actor = await caller(request)
    asked = read_query(request, WHICH)
    if asked["limit"] is None:
        raise ValidationFailed([Issue(("query", "limit"), "Field required", "missing")])
    cleared = await application(request).limits.clear(actor, asked["limit"], asked["user_id"])
    return Json({"ok": True, "cleared": cleared})


def routes() -> list[DirectRoute]:
    """Return the routes."""
    tag, admin = "workflow limits", needs(WORKFLOWS_ADMIN)
    override = {
        "tenant_id": _TEXT, "user_id": _TEXT, "limit": _TEXT, "value": _MAYBE, "updated_at": _TEXT,
        "updated_by": _TEXT,
    }  # fmt: skip
    items = {"type": "array", "items": {"type": "object", "properties": override}}
    listed = answer("Limits", {"overrides": items, "next_cursor": {"anyOf": [_TEXT, {"type": "null"}]}})
    used = answer("Limits in force", {"user_id": _TEXT, "limits": {"type": "array", "items": {"type": "object"}}})
    gone = answer("Done", {"ok": {"type": "boolean"}, "cleared": {"type": "boolean"}})
    return [
        route("GET", PATH, listing, tag=tag, answers={200: listed}, errors=(422,), parameters=LIST, access=admin),
        route("GET", f"{PATH}/usage", usage, tag=tag, answers={200: used}, errors=(422,), parameters=USER,
              access=ANYBODY),
        route("PUT", PATH, change, tag=tag, answers={200: answer("A limit", override)}, errors=(400, 413, 422),
              body=media(CHANGE), access=admin),
        route("DELETE", PATH, clear, tag=tag, answers={200: gone}, errors=(400, 422), parameters=WHICH, access=admin),
    ]  # fmt: skip
