"""Routes of records."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from windlass.contexts.records.api import (
    EXPORT_FORMS,
    MAX_LIMIT,
    NAME_LENGTH,
    SORTS,
    TOGETHER_BYTES,
    TOGETHER_RECORDS,
    Accepted,
    Filter,
    Import,
    ListQuery,
    Record,
    Status,
    name_complaints,
    read_moment,
    written,
)
from windlass.http.bodies import read_known, read_object, unknown
from windlass.http.query import NO_NUL, Parameter, choice, free, integer, label, moment, read_query
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, application, idempotency_key, json_headers, route, whole
from windlass.http.schemas import AcceptedAnswer, BulkAnswer, ManyAnswer, RecordAnswer, RecordsAnswer
from windlass.kernel.errors import Issue, ValidationFailed

STATUSES = [status.value for status in Status]
FILTERS: list[Parameter] = [
    choice("status", STATUSES, "Only records in this status"),
    label("category", "Only records of this category"),
    label("source", "Only records from this source"),
    moment("created_after", "Only records created at this time or later; a bare date is a UTC day"),
    moment("created_before", "Only records created at this time or earlier; a bare date counts whole", end=True),
]
LIST: list[Parameter] = [
    *FILTERS,
    integer("limit", f"Records on a page; more than {MAX_LIMIT} is {MAX_LIMIT}", least=1, default=50, cap=MAX_LIMIT),
    integer("offset", "Records to leave out", least=0, default=0),
    choice("sort_by", SORTS, "What to sort by; ties are broken by creation and id", "created_at"),
    choice("sort_order", ("asc", "desc"), "The order", "desc"),
    free("cursor", "The `next_cursor` of the page before; pages stay stable while records arrive"),
    choice("count", ("exact", "none"), "Whether to count what matches", "exact"),
]
EXPORT: list[Parameter] = [*FILTERS, choice("format", [*EXPORT_FORMS], "One JSON object a line, or CSV", "ndjson")]
_TOGETHER = f"at most {TOGETHER_RECORDS} records and {TOGETHER_BYTES} bytes"
BULK: list[Parameter] = [
    choice("mode", ("each", "together"), f"Store every good record, or all of them or none ({_TOGETHER})", "each"),
    choice("results", ("all", "failed"), "Answer every line, or those that were refused", "all"),
]
_EXPORT_TYPES = {"ndjson": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}

_NAME = {"type": "string", "minLength": 1, "maxLength": NAME_LENGTH, "pattern": NO_NUL}
RECORD_BODY: dict[str, Any] = {
    "type": "object",
    "title": "Record",
    "required": ["source", "category", "payload"],
    "additionalProperties": False,
    "properties": {
        "source": {**_NAME, "description": "Where it came from"},
        "category": {**_NAME, "description": "Chooses the processor"},
        "payload": {"$ref": "#/components/schemas/JsonObject"},
    },
}
MANY_BODY: dict[str, Any] = {
    "type": "object",
    "title": "Which records",
    "additionalProperties": False,
    "properties": {
        "status": {"enum": ["pending", "failed"], "type": "string", "default": "pending"},
        "category": _NAME,
        "source": _NAME,
        "created_after": moment("", "").schema,
        "created_before": moment("", "").schema,
        "limit": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
    },
}


async def create(request: Request) -> Response:
    """Store a record; it is on disk when the answer comes."""
    read_query(request, ())
    key = json_headers(request)
    record = await application(request).records.create(await request.body(), key)
    return Json(record.view(), 201, {"Location": f"/records/{record.id}"})


async def listing(request: Request) -> Response:
    """List records, filtered, sorted and a page at a time."""
    asked = read_query(request, LIST)
    query = ListQuery(_filter(asked), asked["sort_by"], asked["sort_order"] == "desc", asked["limit"], asked["offset"])
    if asked["cursor"] is not None:
        if asked["offset"]:
            raise ValidationFailed([Issue(("query", "offset"), "A page that follows a cursor has none", "excluded")])
        query = query.resume(asked["cursor"])
    page = await application(request).records.page(query, count=asked["count"] == "exact")
    return Json(
        {
            "items": [record.view() for record in page.items],
            "count": len(page.items),
            "total": page.total,
            "total_exact": None if page.total is None else page.exact,
            "next_cursor": page.next_cursor,
        }
    )


async def get(request: Request) -> Response:
    """Get one record."""
    read_query(request, ())
    record = await application(request).records.get(request.path_params["record_id"])
    return Json(record.view())


async def process(request: Request) -> Response:
    """Process a pending record, once however many ask, and answer it as it is afterwards.

    When its run takes longer than PROCESS_WAIT_SECONDS the answer is 202 with the run and its Location.
    """
    read_query(request, ())
    await no_body(request)
    records, record_id = application(request).records, request.path_params["record_id"]
    return _processed(await records.process(record_id, idempotency_key(request)))


async def retry(request: Request) -> Response:
    """Process a failed record again, and answer it as it is afterwards."""
    read_query(request, ())
    await no_body(request)
    records, record_id = application(request).records, request.path_params["record_id"]
    return _processed(await records.retry(record_id, idempotency_key(request)))


async def no_body(request: Request) -> None:
    """Read a body that has nothing to say: none, or ``{}``.

    Raises:
        ValidationFailed: it says something.
    """
    issues = unknown(read_object(await request.body(), optional=True, wanted="nothing, or an empty object"), ())
    if issues:
        raise ValidationFailed(issues)


def _processed(record: Record | Accepted) -> Response:
    if isinstance(record, Accepted):
        return Json({"run_id": record.run_id, "status": "accepted"}, 202, {"Location": f"/runs/{record.run_id}"})
    return Json(record.view())


async def process_many(request: Request) -> Response:
    """Start a durable run that processes the records a filter matches; `{}` is everything pending."""
    read_query(request, ())
    key = idempotency_key(request)
    wanted, limit = read_many(await request.body())
    many = await application(request).records.process_many(wanted, limit, key)
    return Json({"run_id": many.run_id, "matched": many.matched}, 202, {"Location": f"/runs/{many.run_id}"})


async def bulk(request: Request) -> Response:
    """Store many records, sent as lines of JSON or as one JSON array.

    Records are stored a thousand at a time while they come in, and each line is answered. With an Idempotency-Key a
    request that broke off can be repeated without storing anything twice; `repeated` of the `created` were there.
    """
    asked = read_query(request, BULK)
    settings = application(request).settings
    running = Import(
        application(request).records,
        key=idempotency_key(request),
        together=asked["mode"] == "together",
        failures_only=asked["results"] == "failed",
        max_record=settings.max_body_bytes,
    )
    try:
        return Json(await running.run(request.stream()))
    except ClientDisconnect:
        return Response(status_code=499)


async def export(request: Request) -> Response:
    """Export records, oldest first, as lines of JSON or as CSV."""
    asked = read_query(request, EXPORT)
    form = asked["format"]
    pages = application(request).records.export(_filter(asked))
    first = await anext(pages)
    name = f'attachment; filename="records.{form}"'
    lines = written(_from_first(first, pages), form)
    return StreamingResponse(lines, media_type=_EXPORT_TYPES[form], headers={"Content-Disposition": name})


async def _from_first(first: list[Record], pages: AsyncIterator[list[Record]]) -> AsyncIterator[list[Record]]:
    yield first
    async for page in pages:
        yield page


def _filter(asked: dict[str, Any]) -> Filter:
    return Filter(*(asked[parameter.name] for parameter in FILTERS))


def read_many(raw: bytes) -> tuple[Filter, int | None]:
    """Return the filter and the limit of a bulk process.

    Raises:
        ValidationFailed: a field is unknown or wrong; names each.
        Invalid: a date or date-time cannot be read.
    """
    value = read_known(raw, MANY_BODY["properties"], _many_complaints)
    after, before = value.get("created_after"), value.get("created_before")
    wanted = Filter(
        value.get("status"),
        value.get("category"),
        value.get("source"),
        None if after is None else read_moment(after, "created_after"),
        None if before is None else read_moment(before, "created_before", end=True),
    )
    return wanted, whole(value.get("limit"))


def _many_complaints(name: str, given: Any) -> list[Issue]:
    place = ("body", name)
    if name == "limit":
        number = whole(given)
        good = number is not None and number >= 1
        return [] if good else [Issue(place, "Input should be an integer, 1 or more", "int_type")]
    if not isinstance(given, str):
        return [Issue(place, "Input should be a string", "string_type")]
    if name == "status":
        good = given in {"pending", "failed"}
        return [] if good else [Issue(place, "Input should be 'pending' or 'failed'", "enum")]
    return [*name_complaints(given, place)] if name in {"category", "source"} else []


def routes() -> list[DirectRoute]:
    """Return the routes of records."""
    tag = "records"
    json_body = {"application/json": {"schema": RECORD_BODY}}
    lines = {
        "application/x-ndjson": {"schema": {"type": "string"}},
        "application/json": {"schema": {"description": "An array of records, each checked and answered by itself"}},
    }
    files = {"description": "The records", "content": {"application/x-ndjson": {}, "text/csv": {}}}
    ran: dict[int, Any] = {200: RecordAnswer, 202: AcceptedAnswer}
    return [
        route("POST", "/records", create, tag=tag, answers={201: RecordAnswer},
              errors=(400, 401, 409, 413, 422),
              body=json_body, keyed=True),
        route("GET", "/records", listing, tag=tag, answers={200: RecordsAnswer}, errors=(400, 422), parameters=LIST),
        route("POST", "/records/bulk", bulk, tag=tag, answers={200: BulkAnswer}, errors=(401, 409, 413, 422),
              parameters=BULK, body=lines, body_required=False, keyed=True),
        route("POST", "/records/process", process_many, tag=tag, answers={202: ManyAnswer},
              errors=(400, 401, 409, 413, 422), body={"application/json": {"schema": MANY_BODY}}, keyed=True),
        route("GET", "/records/export", export, tag=tag, answers={200: files}, errors=(400, 422), parameters=EXPORT),
        route("GET", "/records/{record_id}", get, tag=tag, answers={200: RecordAnswer}, errors=(404, 422)),
        route("POST", "/records/{record_id}/process", process, tag=tag, answers=ran,
              errors=(401, 404, 409, 413, 422), keyed=True),
        route("POST", "/records/{record_id}/retry", retry, tag=tag, answers=ran,
              errors=(401, 404, 409, 413, 422), keyed=True),
    ]  # fmt: skip
