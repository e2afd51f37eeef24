"""Routes of the audit log: who did what in the caller's tenant, and whether anybody has changed the log since."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from windlass.contexts.identity.api import AuditQuery
from windlass.http.access import ADMIN
from windlass.http.callers import caller
from windlass.http.members import tenant_of
from windlass.http.query import NO_NUL, Parameter, Wrong, integer, read_query
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, application, route
from windlass.http.schemas import AuditAnswer, VerdictAnswer

MAX_LIMIT = 200
MAX_CHECKED = 10_000
ID_LENGTH = 36
TEXT_LENGTH = 255


def _text(name: str, description: str) -> Parameter:
    def read(text: str) -> str:
        if not 1 <= len(text) <= TEXT_LENGTH or "\0" in text:
            raise Wrong(f"Input should be 1 to {TEXT_LENGTH} characters without NUL", "string_length")
        return text

    schema = {"type": "string", "minLength": 1, "maxLength": TEXT_LENGTH, "pattern": NO_NUL}
    return Parameter(name, schema, description, read)


def _cursor(text: str) -> str:
    if len(text) != ID_LENGTH or not (text.isascii() and text.isprintable()):
        raise Wrong("Input should be a cursor that a list has answered", "cursor_invalid")
    return text


LIST: list[Parameter] = [
    _text("tenant", "Of this tenant instead of one's own; heard from administrators of the tenant `default`"),
    _text("actor", "Only what this user or key did, by its id"),
    _text("action", "Only this action, such as `user.add`"),
    _text("target", "Only what was done to this, such as `user:1`"),
    integer("limit", f"Entries on a page; more than {MAX_LIMIT} is {MAX_LIMIT}", least=1, default=50, cap=MAX_LIMIT),
    Parameter(
        "cursor",
        {"type": "string", "minLength": ID_LENGTH, "maxLength": ID_LENGTH, "pattern": "^[!-~]*$"},
        "The `next_cursor` of the page before",
        _cursor,
    ),
]
VERIFY: list[Parameter] = [
    integer("after", "Begin after this number; the `next` of the call before", least=0, default=0),
    integer("limit", f"Entries to check; more than {MAX_CHECKED} is {MAX_CHECKED}", least=1, default=MAX_CHECKED,
            cap=MAX_CHECKED),
]  # fmt: skip


async def listing(request: Request) -> Response:
    """List the audit log of the caller's tenant, newest first."""
    asked = read_query(request, LIST)
    actor = await caller(request)
    tenant = tenant_of(actor, asked["tenant"]) or actor.tenant_id
    query = AuditQuery(tenant, asked["actor"], asked["action"], asked["target"], asked["cursor"], asked["limit"] + 1)
    found = await application(request).identity.entries(query)
    items = found[: asked["limit"]]
    cursor = items[-1]["id"] if len(found) > len(items) else None
    return Json({"items": items, "count": len(items), "next_cursor": cursor})


async def verify(request: Request) -> Response:
    """Check the audit log of all tenants: that nothing was changed, taken away or put in between.

    A long log is checked in pieces: call again with `after` set to `next` until that is null.
    """
    asked = read_query(request, VERIFY)
    verdict = await application(request).identity.verify(asked["after"], asked["limit"])
    return Json({"ok": not verdict.problems, **verdict._asdict()})


def routes() -> list[DirectRoute]:
    """Return the routes of the audit log."""
    tag = "audit"
    return [
        route("GET", "/api/v1/audit", listing, tag=tag, answers={200: AuditAnswer}, errors=(403, 422), parameters=LIST,
              access=ADMIN),
        route("GET", "/api/v1/audit/verify", verify, tag=tag, answers={200: VerdictAnswer}, errors=(422,),
              parameters=VERIFY, access=ADMIN),
    ]  # fmt: skip
