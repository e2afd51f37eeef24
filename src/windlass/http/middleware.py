"""What happens around every request, as plain ASGI: its id, its log lines, its measure, its key, its size."""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Sequence
from time import perf_counter_ns
from typing import NamedTuple

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from windlass.bootstrap import Application
from windlass.http.errors import Unauthorized, answer_windlass, internal_error
from windlass.http.logs import REQUEST_ID, Log
from windlass.http.metrics import Meter
from windlass.http.provider_metrics import OWN as OF_SERVICE
from windlass.http.routing import template_of
from windlass.kernel.errors import TooLarge, WindlassError
from windlass.kernel.ids import new_id
from windlass.storage.moving.marks import refusal

_REQUEST_ID = re.compile(rb"[\x20-\x7e]{1,128}")
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
GUARDED = ("/records", "/runs", "/queues")
"""Writes below these need the API key."""

OWN = ("/health", "/ready", "/metrics", "/api/v1/health", "/api/v1/ready")
"""What tells of the process, not of its database; also ``/healthz`` and ``/readyz``."""


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the first header of a (lower-case) name."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None


class Told(NamedTuple):
    """How the log calls the start, the end and the failure of a request, and its milliseconds."""

    start: str
    end: str
    failure: str
    took: str


USUAL = Told("request.start", "request.end", "unhandled exception", "duration_ms")
OF_PROVIDERS = Told("request_started", "request_completed", "request_failed", "process_time_ms")
"""The names of the contract of providers."""
PROVIDERS = ("/candidates", "/api/providers")
UNMATCHED = "unmatched"
"""What a request is counted as that no route is for."""


class Frame:
    """Outermost: gives the request its id, logs its start and end, measures it, answers what nobody handled.

    Args:
        app: what is behind.
        log: where lines go; those of the provider service's requests have names of their own.
        meter: counts.
        alone: whether the provider service is all that is served.
    """

    def __init__(self, app: ASGIApp, log: Log, meter: Meter, *, alone: bool = False) -> None:
        self._app = app
        self._log = log
        self._meter = meter
        self._usual = OF_PROVIDERS if alone else USUAL

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, _plainly(send))
            return
        given = header(scope, b"x-request-id")
        request_id = given.decode() if given is not None and _REQUEST_ID.fullmatch(given) else new_id()
        token = REQUEST_ID.set(request_id)
        begun = perf_counter_ns()
        method, path, log = scope["method"], scope["path"], self._log
        names = OF_PROVIDERS if path.startswith(PROVIDERS) else self._usual
        status = 0

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id.encode()))
            await send(message)

        inner, answer = (scope, told) if method != "HEAD" else _as_get(scope, told)
        if log.tells_requests:
            log.request(names.start, request_id, method=method, path=path)
        try:
            await self._app(inner, receive, answer)
        except Exception as error:
            log.events.error(names.failure, method=method, path=path, exc_info=error)
            if status:
                raise
            await internal_error(path)(scope, receive, answer)
        finally:
            elapsed = perf_counter_ns() - begun
            if log.tells_requests:
                said = {"method": method, "path": path, "status_code": status, names.took: round(elapsed / 1e6, 3)}
                log.request(names.end, request_id, **said)
            self._meter.request(method, _endpoint(inner), status, elapsed / 1e9)
            REQUEST_ID.reset(token)


def _endpoint(scope: Scope) -> str:
    """Return the template of the route of a request, for providers of one that was refused before a route was found.

    Others are not looked for: that is slow, and whoever asks for what is not there would be served slower.
    """
    if "route" not in scope and scope["path"].startswith(OF_SERVICE):
        return template_of(scope["app"], scope["path"]) or UNMATCHED
    return getattr(scope.get("route"), "path", UNMATCHED)


def _as_get(scope: Scope, send: Send) -> tuple[Scope, Send]:
    """Return what answers a HEAD: the answer to a GET, without its body."""

    async def without_body(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return {**scope, "method": "GET"}, without_body


def _plainly(send: Send) -> Send:
    """Say in one line why the service cannot start, instead of showing where in the code that was noticed."""

    async def told(message: Message) -> None:
        error = sys.exc_info()[1]
        if message["type"] == "lifespan.startup.failed" and isinstance(error, WindlassError):
            message = {**message, "message": str(error)}
        await send(message)

    return told


class Keyhole:
    """Lets writes pass only with the API key, before anything of the request is looked at."""

    def __init__(self, app: ASGIApp, key: str, guarded: Sequence[str] = GUARDED) -> None:
        self._app = app
        self._key = key.encode()
        self._guarded = tuple(guarded)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http" and scope["method"] in _WRITES and self._guards(scope["path"]):
            given = header(scope, b"x-api-key")
            if given is None or not secrets.compare_digest(given, self._key):
                error = Unauthorized("API key required" if given is None else "Invalid API key")
                await answer_windlass(Request(scope), error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _guards(self, path: str) -> bool:
        return path.startswith(self._guarded) and any(
            path == below or path.startswith(f"{below}/") for below in self._guarded
        )


class Closed:
    """Refuses writes while the database is being moved, and once it has been, all that is not about this process."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http":
            running: Application | None = getattr(scope["app"].state, "application", None)
            mark = running.gate.closed if running is not None else None
            wants = scope["method"] in _WRITES or (mark is not None and mark.state == "moved")
            if mark is not None and wants and not scope["path"].startswith(OWN):
                await answer_windlass(Request(scope), refusal(mark))(scope, receive, send)
                return
        await self._app(scope, receive, send)


class BodyLimit:
    """Refuses a body that is too large: at once when it says so itself, else when it has become so.

    Args:
        app: what is behind.
        most: the largest body in bytes.
        exceptions: other limits, by path.
        patterns: other limits, by a regular expression of the whole path.
    """

    def __init__(
        self, app: ASGIApp, most: int, exceptions: dict[str, int], patterns: dict[str, int] | None = None
    ) -> None:
        self._app = app
        self._most = most
        self._exceptions = exceptions
        self._patterns = [(re.compile(pattern), limit) for pattern, limit in (patterns or {}).items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["method"] not in _WRITES:
            await self._app(scope, receive, send)
            return
        most = self._exceptions.get(scope["path"]) or self._limit(scope["path"])
        length = header(scope, b"content-length")
        if length is not None and length.isdigit() and int(length) > most:
            await answer_windlass(Request(scope), _too_large(most))(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > most:
                    raise _too_large(most)
            return message

        await self._app(scope, counted, send)

    def _limit(self, path: str) -> int:
        return next((limit for pattern, limit in self._patterns if pattern.fullmatch(path)), self._most)


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"the request body is larger than {most} bytes", limit=most)
