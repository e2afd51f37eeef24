"""Errors to answers: a kind to a status in one table, one envelope, and nothing of the inside."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from windlass.contexts.limits.api import LimitExceeded
from windlass.http.logs import REQUEST_ID, Log
from windlass.http.responses import DETAILED, Json
from windlass.http.routing import methods_of
from windlass.kernel.errors import Kind, Moving, Unavailable, ValidationFailed, WindlassError


class Unauthorized(WindlassError):
    """The API key is missing or wrong."""

    code = "UNAUTHORIZED"
    kind = Kind.UNAUTHORIZED


class _Shown(NamedTuple):
    status: int
    code: str


TABLE = {
    Kind.INVALID: _Shown(400, "BAD_REQUEST"),
    Kind.VALIDATION: _Shown(422, "VALIDATION_ERROR"),
    Kind.UNAUTHORIZED: _Shown(401, "UNAUTHORIZED"),
    Kind.FORBIDDEN: _Shown(403, "FORBIDDEN"),
    Kind.NOT_FOUND: _Shown(404, "NOT_FOUND"),
    Kind.CONFLICT: _Shown(409, "CONFLICT"),
    Kind.STALE: _Shown(412, "PRECONDITION_FAILED"),
    Kind.TOO_LARGE: _Shown(413, "PAYLOAD_TOO_LARGE"),
    Kind.RATE_LIMITED: _Shown(429, "RATE_LIMITED"),
    Kind.BAD_GATEWAY: _Shown(502, "BAD_GATEWAY"),
    Kind.UNAVAILABLE: _Shown(503, "SERVICE_UNAVAILABLE"),
    Kind.TIMED_OUT: _Shown(504, "GATEWAY_TIMEOUT"),
    Kind.INTERNAL: _Shown(500, "INTERNAL_ERROR"),
}
"""What a kind of error is over HTTP."""

NOT_ALLOWED = "METHOD_NOT_ALLOWED"
_CODES = {shown.status: shown.code for shown in TABLE.values()} | {405: NOT_ALLOWED}
_BUSINESS = frozenset({
    Kind.INVALID, Kind.NOT_FOUND, Kind.CONFLICT, Kind.STALE, Kind.TOO_LARGE, Kind.RATE_LIMITED, Kind.TIMED_OUT,
})  # fmt: skip
INTERNAL = "Internal server error"


def envelope(
    path: str, status: int, code: str, message: str, details: Any = None, headers: Mapping[str, str] | None = None
) -> Json:
    """Return an error's answer in the shape of its part of the API.

    Args:
        path: what was asked for.
        status: the HTTP status.
        code: the stable code.
        message: for people.
        details: the issues of a validation, or what else is known.
        headers: of the answer.
    """
    request_id = REQUEST_ID.get()
    if not path.startswith(DETAILED):
        error = {"code": code, "message": message, "details": details}
        return Json({"error": error, "request_id": request_id}, status, headers)
    body: dict[str, Any] = {"detail": message, "code": code, "request_id": request_id}
    if isinstance(details, list):
        body["detail"] = details
    elif details:
        body["data"] = details
    return Json(body, status, headers)


def internal_error(path: str) -> Json:
    """Return the answer to a fault of our own, which tells nothing of it."""
    return envelope(path, 500, TABLE[Kind.INTERNAL].code, INTERNAL)


def answer_windlass(request: Request, error: Exception) -> Response:
    """Answer an error of the product."""
    assert isinstance(error, WindlassError)  # noqa: S101  registered for it
    status, code = TABLE[error.kind]
    if isinstance(error, Moving):
        code = error.code
    log: Log = request.app.state.log
    if error.kind is Kind.INTERNAL:
        log.events.error("unhandled exception", exc_info=error)
        return internal_error(request.scope["path"])
    details: Any = _plain(error.data) or None
    if isinstance(error, ValidationFailed):
        details = [{"loc": issue.loc, "msg": issue.msg, "type": issue.type, **issue.data} for issue in error.issues]
        log.events.info("validation.error", details=details)
    elif error.kind in _BUSINESS:
        log.events.info("domain.error", error={"code": code, "message": error.message, "details": details})
    else:
        log.events.warning("http.error", status_code=status, error={"code": code, "message": error.message})
    return envelope(request.scope["path"], status, code, _public(error), details, _headers(error))


def _public(error: WindlassError) -> str:
    """Return an error's message without what a driver said: its details are in the log."""
    if isinstance(error, Unavailable):
        return error.message.partition(":")[0]
    return error.message


def _plain(data: Mapping[str, object]) -> dict[str, Any]:
    plain: dict[str, Any] = orjson.loads(orjson.dumps(data, default=str, option=orjson.OPT_NON_STR_KEYS))
    return plain


def _headers(error: WindlassError) -> dict[str, str]:
    after = getattr(error, "retry_after", None)
    if after is not None:
        wait = {"Retry-After": str(max(1, math.ceil(after)))}
        return wait | _rates(error) if isinstance(error, LimitExceeded) else wait
    if error.kind is Kind.UNAUTHORIZED:
        return {"WWW-Authenticate": getattr(error, "challenge", "ApiKey")}
    return {}


def _rates(error: LimitExceeded) -> dict[str, str]:
    """Return the headers of the contract: seconds to the reset without ``X-``, and with it the second it comes in."""
    return {
        "RateLimit-Limit": str(error.allowed),
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": str(error.retry_after),
        "X-RateLimit-Limit": str(error.allowed),
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(error.reset_at),
    }


def answer_http(request: Request, error: Exception) -> Response:
    """Answer what the framework refuses: an unknown path, a method that is not allowed."""
    assert isinstance(error, HTTPException)  # noqa: S101  registered for it
    message = "not found" if error.status_code == 404 else HTTPStatus(error.status_code).phrase.lower()
    code = _CODES.get(error.status_code, HTTPStatus(error.status_code).name)
    log: Log = request.app.state.log
    log.events.info("http.error", status_code=error.status_code, error={"code": code, "message": message})
    headers = {"Allow": ", ".join(methods_of(request.app, request.scope["path"]))} if code == NOT_ALLOWED else None
    return envelope(request.scope["path"], error.status_code, code, message, headers=headers)
