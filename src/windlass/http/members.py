"""Routes of users and service keys, for administrators: of their own tenant, those of ``default`` of every tenant."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from windlass.contexts.identity.api import USUAL_PERMISSIONS, shown_key
from windlass.http.access import ADMIN
from windlass.http.bodies import Field, media, read_body, text
from windlass.http.callers import caller
from windlass.http.query import Parameter, free, integer, read_query
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, application, route
from windlass.http.shapes import answer
from windlass.kernel.actors import Actor, Forbidden
from windlass.kernel.errors import NotFound

OPERATORS = "default"
"""The tenant whose administrators look after all of them."""
NO_STORE = {"Cache-Control": "no-store"}
MAX_LIMIT = 1000
_PERMISSIONS = Field({"type": "array", "items": text(100), "maxItems": 100})
_ROLE = {"type": "string", "enum": ["user", "admin"]}
_PASSWORD = Field(text(1024), required=True)
USER = {
    "username": Field(text(255), required=True),
    "password": _PASSWORD,
    "tenant_id": Field(text(255)),
    "role": Field(_ROLE),
    "permissions": _PERMISSIONS,
}
CHANGE = {"is_active": Field({"type": "boolean"}), "role": Field(_ROLE), "grant": _PERMISSIONS, "revoke": _PERMISSIONS}
PASSWORD = {"password": _PASSWORD}
KEY = {
    "name": Field(text(255), required=True),
    "tenant_id": Field(text(255)),
    "permissions": _PERMISSIONS,
    "days": Field({"type": "number"}),
}
_PAGE: list[Parameter] = [
    free("tenant", "Only those of this tenant"),
    integer("limit", f"Entries on a page; more than {MAX_LIMIT} is {MAX_LIMIT}", least=1, default=100, cap=MAX_LIMIT),
]
USERS = [*_PAGE, integer("cursor", "The `next_cursor` of the page before", least=0, default=0)]
KEYS = [*_PAGE, free("cursor", "The `next_cursor` of the page before")]


def tenant_of(actor: Actor, wanted: str | None) -> str | None:
    """Return whose users, keys or entries are meant; None is everybody's.

    Raises:
        Forbidden: those of another tenant.
    """
    if actor.tenant_id == OPERATORS:
        return wanted
    if wanted not in {None, actor.tenant_id}:
        raise Forbidden("Permission denied: another tenant's")
    return actor.tenant_id


async def users(request: Request) -> Response:
    """List users in order of their ids."""
    asked = read_query(request, USERS)
    tenant = tenant_of(await caller(request), asked["tenant"])
    found = await application(request).identity.list_users(tenant, asked["cursor"], asked["limit"] + 1)
    page = found[: asked["limit"]]
    cursor = page[-1].user_id if len(found) > len(page) else None
    return Json({"items": [user.shown() for user in page], "count": len(page), "next_cursor": cursor})


async def add_user(request: Request) -> Response:
    """Add a user; a new tenant is made, which `new_tenant` says."""
    read_query(request, ())
    actor = await caller(request)
    asked = read_body(await request.body(), USER)
    tenant = tenant_of(actor, asked.get("tenant_id")) or OPERATORS
    added = await application(request).identity.add_user(
        actor,
        asked["username"],
        asked["password"],
        tenant,
        asked.get("role", "user"),
        asked.get("permissions", USUAL_PERMISSIONS),
    )
    return Json({**added.user.shown(), "new_tenant": added.new_tenant}, 201)


async def change_user(request: Request) -> Response:
    """Disable or enable a user, change its role, grant and revoke permissions; an empty object only shows it."""
    read_query(request, ())
    actor = await caller(request)
    asked = read_body(await request.body(), CHANGE)
    name = await _user(request, actor)
    return Json((await application(request).identity.change_user(actor, name, **asked)).shown())


async def set_password(request: Request) -> Response:
    """Change a user's password; tokens of before end."""
    read_query(request, ())
    actor = await caller(request)
    asked = read_body(await request.body(), PASSWORD)
    name = await _user(request, actor)
    return Json((await application(request).identity.set_password(actor, name, asked["password"])).shown())


async def _user(request: Request, actor: Actor) -> str:
    """Return the name of the user in the path.

    Raises:
        NotFound: there is none, or it is another tenant's.
    """
    name: str = request.path_params["username"]
    if not (name.isprintable() and len(name) <= 255):
        raise NotFound("there is no such user")
    user = await application(request).identity.get_user(name)
    if actor.tenant_id not in {OPERATORS, user.tenant_id}:
        raise NotFound(f"there is no user {name}")
    return name


async def keys(request: Request) -> Response:
    """List service keys in order of their ids, without what is sent."""
    asked = read_query(request, KEYS)
    tenant = tenant_of(await caller(request), asked["tenant"])
    found = await application(request).identity.list_keys(tenant, asked["cursor"] or "", asked["limit"] + 1)
    page = found[: asked["limit"]]
    cursor = page[-1].key_id if len(found) > len(page) else None
    return Json({"items": [shown_key(key) for key in page], "count": len(page), "next_cursor": cursor})


async def add_key(request: Request) -> Response:
    """Make a service key; `key` is what is sent, and is shown this once."""
    read_query(request, ())
    actor = await caller(request)
    asked = read_body(await request.body(), KEY)
    tenant = tenant_of(actor, asked.get("tenant_id")) or OPERATORS
    granted = asked.get("permissions", USUAL_PERMISSIONS)
    added = await application(request).identity.add_key(actor, asked["name"], tenant, granted, asked.get("days"))
    body = {**shown_key(added.key), "key": added.text, "new_tenant": added.new_tenant}
    return Json(body, 201, headers=NO_STORE)


async def revoke_key(request: Request) -> Response:
    """Revoke a service key for good."""
    read_query(request, ())
    actor, key_id = await caller(request), request.path_params["key_id"]
    identity = application(request).identity
    if not (key_id.isprintable() and len(key_id) <= 255):
        raise NotFound("there is no such key")
    if actor.tenant_id != OPERATORS and not await identity.has_key(actor.tenant_id, key_id):
        raise NotFound(f"there is no key {key_id}")
    done = await identity.revoke_key(actor, key_id)
    return Json({"key_id": key_id, "result": "applied" if done else "already_applied"})


def routes() -> list[DirectRoute]:
    """Return the routes of users and keys."""
    at_users, at_keys = "/api/v1/users", "/api/v1/keys"
    user, key = answer("The user", {"username": {"type": "string"}}), answer("The key", {"key_id": {"type": "string"}})
    page = answer("A page", {"items": {"type": "array", "items": {"type": "object"}}, "count": {"type": "integer"}})
    shared: dict[str, Any] = {"access": ADMIN}
    body_errors = (400, 409, 413, 422)
    return [
        route("GET", at_users, users, tag="users", answers={200: page}, errors=(403, 422), parameters=USERS, **shared),
        route("POST", at_users, add_user, tag="users", answers={201: user}, errors=(403, *body_errors),
              body=media(USER), **shared),
        route("PATCH", f"{at_users}/{{username}}", change_user, tag="users", answers={200: user},
              errors=(404, *body_errors), body=media(CHANGE), **shared),
        route("PUT", f"{at_users}/{{username}}/password", set_password, tag="users", answers={200: user},
              errors=(404, *body_errors), body=media(PASSWORD), **shared),
        route("GET", at_keys, keys, tag="keys", answers={200: page}, errors=(403, 422), parameters=KEYS, **shared),
        route("POST", at_keys, add_key, tag="keys", answers={201: key}, errors=(403, *body_errors), body=media(KEY),
              **shared),
        route("DELETE", f"{at_keys}/{{key_id}}", revoke_key, tag="keys", answers={200: key}, errors=(404, 422),
              **shared),
    ]  # fmt: skip
