"""Routes of webhooks: what became of those of a run, and the dead letters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from windlass.contexts.records.api import read_moment
from windlass.contexts.webhooks.api import LetterNotFound, Wanted
from windlass.http.access import needs
from windlass.http.bodies import read_known
from windlass.http.callers import caller
from windlass.http.query import NO_NUL, Parameter, Wrong, integer, moment, read_query
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, application, route
from windlass.http.schemas import Shape
from windlass.kernel.actors import RUNS_CONTROL, RUNS_READ
from windlass.kernel.errors import Issue, NotFound, ValidationFailed

PREFIX = "/api/v1/workflows"
MAX_LIMIT = 500
MAX_OFFSET = 100_000
ID_LENGTH = 255
TEXT_LENGTH = 255
FILTERS = ("tenant", "host", "error", "created_after", "created_before")


class DeliveryAnswer(Shape):
    """An attempt to deliver a webhook; ``status`` is delivered, failed or blocked."""

    id: int
    event_seq: int | None
    created_at: str
    host: str
    status: str
    code: int | None
    reason: str | None
    source: str | None
    attempt: int
    webhook_id: str


class DeliveriesAnswer(Shape):
    """A page of attempts."""

    deliveries: list[DeliveryAnswer]
    next_cursor: str | None


class LetterAnswer(Shape):
    """A dead letter; nobody tries it again by itself when ``next_attempt_at`` is null."""

    id: int
    tenant_id: str
    run_id: str | None
    webhook_id: str
    url: str
    host: str
    attempts: int
    next_attempt_at: str | None
    reason: str
    last_error: str
    created_at: str
    body: Any


class LettersAnswer(Shape):
    """A page of dead letters."""

    items: list[LetterAnswer]
    limit: int
    offset: int
    count: int
    next_cursor: str | None


class ReplayAnswer(Shape):
    """What a replay came to."""

    ok: bool
    status_code: int | None = None
    error: str | None = None
    error_type: str | None = None
    error_category: str | None = None


class StartedAnswer(Shape):
    """A replay that goes on."""

    run_id: str
    matched: int | None = None


class DiscardedAnswer(Shape):
    """How many were thrown away."""

    discarded: int


class DoneAnswer(Shape):
    """It is done."""

    ok: bool


def _text(name: str, description: str) -> Parameter:
    def read(text: str) -> str:
        if not 1 <= len(text) <= TEXT_LENGTH or not text.isprintable():
            raise Wrong(f"Input should be 1 to {TEXT_LENGTH} printable characters", "string_type")
        return text

    schema = {"type": "string", "minLength": 1, "maxLength": TEXT_LENGTH, "pattern": NO_NUL}
    return Parameter(name, schema, description, read)


CURSOR = integer("cursor", "The `next_cursor` of the page before", least=0, default=0)
PAGE = [integer("limit", "Entries on a page", least=1, default=100, most=MAX_LIMIT)]
DELIVERIES = [*PAGE, CURSOR]
LETTERS = [
    *PAGE,
    integer("offset", "How many to pass over; a cursor costs less", least=0, default=0, most=MAX_OFFSET),
    CURSOR,
    _text("tenant", "Only those of this tenant"),
    _text("host", "Only those to this host"),
    _text("error", "Only those that failed so: `timeout`, `network_error`, `unresolved`, `http_503`, …"),
    moment("created_after", "Only those given up at this time or later"),
    moment("created_before", "Only those given up at this time or earlier", end=True),
]
_NAME = {"type": "string", "minLength": 1, "maxLength": TEXT_LENGTH, "pattern": NO_NUL}
_FIELDS: dict[str, Any] = dict.fromkeys(("tenant", "host", "error"), _NAME) | {
    name: {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}
    for name in ("created_after", "created_before")
}
WANTED_BODY: dict[str, Any] = {
    "type": "object", "title": "Which dead letters", "additionalProperties": False,
    "properties": {**_FIELDS, "all": {"type": "boolean", "description": "Said for a body without any filter"}},
}  # fmt: skip


async def deliveries(request: Request) -> Response:
    """List the attempts to tell of a run."""
    actor, asked = await caller(request), read_query(request, DELIVERIES)
    run_id = request.path_params["run_id"]
    if len(run_id) > ID_LENGTH or not run_id.isprintable():
        raise NotFound("Run not found")
    limit = asked["limit"]
    found = await application(request).webhooks.deliveries(actor, run_id, after=asked["cursor"], limit=limit + 1)
    shown = found[:limit]
    return Json({"deliveries": shown, "next_cursor": str(shown[-1]["id"]) if len(found) > limit else None})


async def letters(request: Request) -> Response:
    """List dead letters, oldest first: webhooks that were given up."""
    actor, asked = await caller(request), read_query(request, LETTERS)
    wanted = Wanted(**{name: asked[name] for name in FILTERS})
    limit, offset = asked["limit"], asked["offset"]
    found = await application(request).webhooks.letters(
        actor, wanted, after=asked["cursor"], limit=limit + 1, offset=offset
    )
    items = found[:limit]
    cursor = str(items[-1]["id"]) if len(found) > limit else None
    return Json({"items": items, "limit": limit, "offset": offset, "count": len(items), "next_cursor": cursor})


async def replay(request: Request) -> Response:
    """Send a dead letter once more, and forget it when it is heard.

    An answer with 202 and its `run_id` says that the attempt takes longer than it is waited for.
    """
    actor = await caller(request)
    read_query(request, ())
    done = await application(request).webhooks.replay(actor, _dlq_id(request))
    return Json({"run_id": done.run_id}, 202) if done.answer is None else Json(done.answer)


async def replay_many(request: Request) -> Response:
    """Send the dead letters that match once more, in a run; `matched` is counted up to 10,000."""
    actor, wanted = await caller(request), await _wanted(request)
    return Json((await application(request).webhooks.replay_many(actor, wanted))._asdict(), 202)


async def discard(request: Request) -> Response:
    """Throw a dead letter away."""
    actor = await caller(request)
    read_query(request, ())
    await application(request).webhooks.discard(actor, _dlq_id(request))
    return Json({"ok": True})


async def discard_many(request: Request) -> Response:
    """Throw the dead letters that match away."""
    actor, wanted = await caller(request), await _wanted(request)
    return Json({"discarded": await application(request).webhooks.discard_many(actor, wanted)})


def _dlq_id(request: Request) -> int:
    text = request.path_params["dlq_id"]
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise LetterNotFound
    return int(text)


async def _wanted(request: Request) -> Wanted:
    """Read which dead letters are meant; without a filter that has to be said.

    Raises:
        ValidationFailed: a field is unknown or wrong, or nothing is said.
    """
    read_query(request, ())
    value = read_known(await request.body(), WANTED_BODY["properties"], _complaints)
    if not value.get("all") and not any(name in value for name in FILTERS):
        raise ValidationFailed([Issue(("body", "all"), "Name a filter, or say all: true", "missing")])
    wanted = Wanted(**{name: value[name] for name in ("tenant", "host", "error") if name in value})
    for name in ("created_after", "created_before"):
        if name in value:
            wanted = replace(wanted, **{name: read_moment(value[name], name, end=name == "created_before")})
    return wanted


def _complaints(name: str, given: Any) -> list[Issue]:
    if name == "all":
        return [] if type(given) is bool else [Issue(("body", name), "Input should be true or false", "bool_type")]
    if isinstance(given, str) and 1 <= len(given) <= TEXT_LENGTH and given.isprintable():
        return []
    message = f"Input should be a string of 1 to {TEXT_LENGTH} printable characters"
    return [Issue(("body", name), message, "string_type")]


def routes() -> list[DirectRoute]:
    """Return the routes of webhooks."""
    tag, dlq = "webhooks", f"{PREFIX}/webhooks/dlq"
    body = {"application/json": {"schema": WANTED_BODY}}
    allowed = (401, 403)
    keepers = needs(RUNS_CONTROL, admin=True)
    return [
        route("GET", f"{PREFIX}/runs/{{run_id}}/webhooks/deliveries", deliveries, tag=tag,
              answers={200: DeliveriesAnswer}, errors=(*allowed, 404, 422), parameters=DELIVERIES,
              access=needs(RUNS_READ)),
        route("GET", dlq, letters, tag=tag, answers={200: LettersAnswer}, errors=(400, *allowed, 422),
              parameters=LETTERS, access=keepers),
        route("POST", f"{dlq}/replay", replay_many, tag=tag, answers={202: StartedAnswer},
              errors=(400, *allowed, 413, 422), body=body, access=keepers),
        route("POST", f"{dlq}/discard", discard_many, tag=tag, answers={200: DiscardedAnswer},
              errors=(400, *allowed, 413, 422), body=body, access=keepers),
        route("POST", f"{dlq}/{{dlq_id}}/replay", replay, tag=tag, answers={200: ReplayAnswer, 202: StartedAnswer},
              errors=(400, *allowed, 404, 409, 422), access=keepers),
        route("DELETE", f"{dlq}/{{dlq_id}}", discard, tag=tag, answers={200: DoneAnswer},
              errors=(*allowed, 404, 422), access=keepers),
    ]  # fmt: skip
