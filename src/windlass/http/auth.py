"""Routes of logins and tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from windlass.contexts.identity.api import NAME_LENGTH, PASSWORD_LENGTHS, SCOPE, Token, VirtualKey
from windlass.http.access import ANYBODY, NOBODY, needs
from windlass.http.bodies import Field, media, read_body, read_known, text
from windlass.http.callers import caller
from windlass.http.logs import REQUEST_ID
from windlass.http.people import OkAnswer
from windlass.http.query import read_query
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, application, json_headers, route, whole
from windlass.http.schemas import CallerAnswer, TokenAnswer, VirtualKeyAnswer
from windlass.kernel.actors import WORKFLOWS_ADMIN
from windlass.kernel.errors import Issue, ValidationFailed

NO_STORE = {"Cache-Control": "no-store"}
FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
MOST_TOKEN = 255
MOST_SENT = 1024
MOST_COUNT = 2**53 - 1
MOST_MINUTES = 1440
MOST_LISTED = 100
_TEXT = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
_PLAIN = re.compile(r"[!-~]{1,255}")
_LIST = {"anyOf": [{"type": "array", "maxItems": MOST_LISTED, "items": _TEXT}, {"type": "null"}]}
_COUNT = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": MOST_COUNT}, {"type": "null"}]}
KEY_BODY: dict[str, Any] = {
    "type": "object",
    "title": "Virtual key",
    "additionalProperties": False,
    "properties": {
        "ttl_minutes": {"type": "integer", "minimum": 1, "maximum": MOST_MINUTES, "default": 60},
        "scope": {**_TEXT, "default": SCOPE},
        "schedule_id": {"anyOf": [_TEXT, {"type": "null"}]},
        "allowed_endpoints": _LIST,
        "allowed_methods": _LIST,
        "allowed_paths": _LIST,
        "max_runs": _COUNT,
        "max_calls": _COUNT,
    },
}
_SENT: dict[str, Any] = {
    "scope": {"type": "string", "maxLength": MOST_SENT},
    "client_id": {"type": "string", "maxLength": NAME_LENGTH},
    "client_secret": {"type": "string", "maxLength": MOST_SENT},
}
"""What OAuth 2 sends along with a password or a token; it means nothing here."""
LOGIN_BODY: dict[str, Any] = {
    "type": "object",
    "title": "Login",
    "additionalProperties": False,
    "required": ["username", "password"],
    "properties": {
        "username": {"type": "string", "maxLength": NAME_LENGTH},
        "password": {"type": "string", "format": "password", "maxLength": PASSWORD_LENGTHS[1]},
        "grant_type": {"type": "string", "enum": ["password"]},
        **_SENT,
    },
}
REFRESH_FIELDS = {"refresh_token": Field(text(MOST_TOKEN), required=True)}
REFRESH_FORM: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["refresh_token"],
    "properties": {
        "refresh_token": {"type": "string", "maxLength": MOST_TOKEN},
        "grant_type": {"type": "string", "enum": ["refresh_token"]},
        **_SENT,
    },
}
_LISTS = ("allowed_endpoints", "allowed_methods", "allowed_paths")


async def login(request: Request) -> Response:
    """Log in with a name and a password (OAuth 2 password form), and get a bearer token.

    Wrong passwords for a name make the next tries wait: 429 with `Retry-After`.
    """
    read_query(request, ())
    username, password = await _credentials(request)
    return tokens(await application(request).identity.login(username, password))


def tokens(token: Token, headers: Mapping[str, str] = NO_STORE) -> Json:
    """Return the answer of a login."""
    answer = {
        "access_token": token.access_token,
        "token_type": "bearer",
        "expires_in": token.expires_in,
        "refresh_token": token.refresh_token,
    }
    return Json(answer, headers=headers)


async def refresh(request: Request) -> Response:
    """Get the next tokens for a refresh token, which is spent with that.

    One that was spent before ends the whole login: somebody else has it too.
    """
    read_query(request, ())
    given = await _refresh_token(request, required=True)
    return tokens(await application(request).identity.refresh(given or "", REQUEST_ID.get()))


async def logout(request: Request) -> Response:
    """End the login of the bearer token, or of the refresh token in the body, and all its tokens with it."""
    read_query(request, ())
    given = await _refresh_token(request, required=False)
    await application(request).identity.logout(request.headers, given, REQUEST_ID.get())
    return Json({"ok": True}, headers=NO_STORE)


async def check(request: Request) -> Response:
    """Say who is calling."""
    read_query(request, ())
    actor = await caller(request)
    return Json({
        "ok": True,
        "user_id": actor.user_id,
        "username": actor.username,
        "is_admin": actor.is_admin,
        "tenant_id": actor.tenant_id,
    })  # fmt: skip


async def virtual_key(request: Request) -> Response:
    """Mint a virtual key: a bearer token of the calling user that is narrowed down.

    `allowed_endpoints`, `allowed_methods` and `allowed_paths` (prefixes) say where it may be used, `max_runs` and
    `max_calls` how often; with `schedule_id` it starts runs of that schedule alone.
    """
    read_query(request, ())
    json_headers(request)
    wanted = read_key(await request.body())
    minted = await application(request).identity.mint(await caller(request), wanted)
    return Json(minted._asdict(), headers=NO_STORE)


async def _refresh_token(request: Request, *, required: bool) -> str | None:
    """Return the refresh token of a form or of JSON.

    Raises:
        ValidationFailed: it is missing, or another field is there; names it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in FORMS:
        fields, issues = await _form(request, REFRESH_FORM["properties"])
        if required and "refresh_token" not in fields:
            issues.append(Issue(("body", "refresh_token"), "Field required", "missing"))
        if fields.get("grant_type", "refresh_token") not in {"refresh_token", ""}:
            issues.append(Issue(("body", "grant_type"), "Input should be 'refresh_token'", "enum"))
        if issues:
            raise ValidationFailed(issues)
        return fields.get("refresh_token")
    json_headers(request)
    raw = await request.body()
    found = read_body(raw, REFRESH_FIELDS) if required or raw.strip() else {}
    given: str | None = found.get("refresh_token")
    return given


async def _form(request: Request, known: Mapping[str, Any]) -> tuple[dict[str, str], list[Issue]]:
    """Return the fields of a form whose schemas these are, and what is wrong with it."""
    issues: list[Issue] = []
    fields: dict[str, str] = {}
    async with request.form(max_files=1, max_fields=20) as form:
        for name, value in form.multi_items():
            if name not in known:
                issues.append(Issue(("body", name), "Extra inputs are not permitted", "extra_forbidden"))
            elif isinstance(value, UploadFile):
                issues.append(Issue(("body", name), "Input should be a string", "string_type"))
            elif name in fields:
                issues.append(Issue(("body", name), "Given more than once", "duplicate"))
            else:
                fields[name] = value
                most = known[name].get("maxLength", len(value))
                if len(value) > most:
                    message = f"Input should be a string of at most {most} characters"
                    issues.append(Issue(("body", name), message, "string_too_long"))
    return fields, issues


async def _credentials(request: Request) -> tuple[str, str]:
    """Return the name and the password of a form.

    Raises:
        ValidationFailed: a field is missing, unknown or given twice; names each.
    """
    fields, issues = await _form(request, LOGIN_BODY["properties"])
    issues += [
        Issue(("body", name), "Field required", "missing") for name in LOGIN_BODY["required"] if name not in fields
    ]
    if fields.get("grant_type", "password") not in {"password", ""}:
        issues.append(Issue(("body", "grant_type"), "Input should be 'password'", "enum"))
    if issues:
        raise ValidationFailed(issues)
    return fields["username"], fields["password"]


def read_key(raw: bytes) -> VirtualKey:
    """Return the virtual key that a body asks for; an empty one asks for the usual.

    Raises:
        ValidationFailed: a field is unknown or wrong; names each.
    """

    def complaints(name: str, given: Any) -> list[Issue]:
        message = _complaint(name, given)
        return [Issue(("body", name), message, "value_error")] if message else []

    value = read_known(raw, KEY_BODY["properties"], complaints, optional=True)
    wanted: dict[str, Any] = {
        name: whole(given) if isinstance(given, float) else given for name, given in value.items()
    }
    return VirtualKey(**wanted)


def _complaint(name: str, given: Any) -> str | None:
    if name == "ttl_minutes":
        good = 1 <= (whole(given) or 0) <= MOST_MINUTES
        return None if good else f"Input should be an integer from 1 to {MOST_MINUTES}"
    if given is None and name != "scope":
        return None
    if name in {"max_runs", "max_calls"}:
        return None if 1 <= (whole(given) or 0) <= MOST_COUNT else "Input should be an integer from 1 on, or null"
    if name in _LISTS:
        good = isinstance(given, list) and len(given) <= MOST_LISTED and all(map(_is_text, given))
        return None if good else f"Input should be a list of up to {MOST_LISTED} texts of 1 to 255 visible characters"
    return None if _is_text(given) else "Input should be a text of 1 to 255 visible ASCII characters"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and _PLAIN.fullmatch(value) is not None


def routes() -> list[DirectRoute]:
    """Return the routes of logins and tokens."""
    tag = "auth"
    form = {name: {"schema": LOGIN_BODY} for name in ("application/x-www-form-urlencoded",)}
    body = {"application/json": {"schema": KEY_BODY}}
    spent = {"application/x-www-form-urlencoded": {"schema": REFRESH_FORM}, **media(REFRESH_FIELDS)}
    return [
        route("POST", "/auth/login", login, tag=tag, answers={200: TokenAnswer}, errors=(400, 401, 413, 422, 429),
              body=form, access=NOBODY),
        route("POST", "/auth/refresh", refresh, tag=tag, answers={200: TokenAnswer}, errors=(400, 401, 413, 422),
              body=spent, access=NOBODY),
        route("POST", "/auth/logout", logout, tag=tag, answers={200: OkAnswer}, errors=(400, 401, 413, 422),
              body=spent, body_required=False, access=NOBODY),
        route("GET", "/api/v1/workflows/auth/check", check, tag=tag, answers={200: CallerAnswer}, errors=(422,),
              access=ANYBODY),
        route("POST", "/api/v1/workflows/auth/virtual-key", virtual_key, tag=tag, answers={200: VirtualKeyAnswer},
              errors=(400, 413, 422), body=body, body_required=False, access=needs(WORKFLOWS_ADMIN, admin=True)),
    ]  # fmt: skip
