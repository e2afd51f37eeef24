"""Routes of runs that are open: their streams, what they have published, updates and queries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from windlass.contexts.workflows.api import may_control
from windlass.http import callers
from windlass.http.bodies import Field, media, read_body, text
from windlass.http.query import Parameter, integer, read_query
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, application, route
from windlass.http.runs import ANONYMOUS, seen
from windlass.http.schemas import PublishedAnswer, QueryAnswer, StreamAnswer, UpdateAnswer
from windlass.kernel.actors import RUNS_CONTROL
from windlass.kernel.errors import Issue, NotFound, ValidationFailed
from windlass.kernel.ids import new_id
from windlass.kernel.items import StreamItem
from windlass.live.api import Live, NoAnswer
from windlass.live.api import Request as Asked

MAX_ITEMS = 1000
LONGEST_WAIT = 300
USUAL_WAIT = 30
"""Seconds."""
OFFSET = integer("offset", "The first item; the first of all by default", least=0, default=0, most=(1 << 53) - 1)
PAGE: list[Parameter] = [
    OFFSET,
    integer("limit", f"Items; more than {MAX_ITEMS} is {MAX_ITEMS}", least=1, default=500, cap=MAX_ITEMS),
]
NAME = text(200, pattern="^[A-Za-z_][A-Za-z0-9_.:<>-]*$")
SECONDS = {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT}
UPDATE = {
    "name": Field(NAME, required=True),
    "payload": Field({}),
    "update_id": Field(text(255)),
    "timeout": Field(SECONDS),
}
QUERY = {"name": Field(NAME, required=True), "argument": Field({}), "timeout": Field(SECONDS)}


def live(request: Request) -> Live:
    """Return who answers for runs that are open."""
    found: Live = application(request).engine.live
    return found


def shown(item: StreamItem) -> dict[str, Any]:
    """Return an item as people see it."""
    return {
        "offset": item.offset,
        "value": item.value,
        "step_id": item.step,
        "attempt": item.attempt,
        "created_at": item.at,
    }


# streams
async def items(request: Request) -> Response:
    """Get items of a stream of a run, in order, from an offset on."""
    asked = read_query(request, PAGE)
    run = await seen(request, await callers.visitor(request))
    page = await live(request).items(run.run_id, request.path_params["stream"], asked["offset"], asked["limit"])
    after = page.items[-1].offset + 1 if page.items else asked["offset"]
    told = [shown(item) for item in page.items]
    return Json({"items": told, "count": len(told), "next_offset": after, "closed": page.closed})


async def follow(request: Request) -> Response:
    """Follow a stream of a run as server-sent events; `Last-Event-ID` resumes after that item, `end` is the last one.

    The id of an event is the item's offset: who resumes gets every later item, and none twice. It ends with the stream
    or with the run.
    """
    asked = read_query(request, [OFFSET])
    run = await seen(request, await callers.visitor(request))
    offset, last = asked["offset"], request.headers.get("last-event-id")
    if last is not None:
        if not (last.isascii() and last.isdigit() and len(last) <= 15):
            message = "Input should be the offset of an item"
            raise ValidationFailed([Issue(("header", "Last-Event-ID"), message, "header_invalid")])
        offset = int(last) + 1
    name = request.path_params["stream"]
    await live(request).items(run.run_id, name, offset, 1)  # says what is wrong with the name while it can be said
    body = _sent(live(request), run.run_id, name, offset)
    return StreamingResponse(body, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _sent(asked: Live, run_id: str, name: str, offset: int) -> AsyncIterator[bytes]:
    async for page in asked.follow(run_id, name, offset):
        for item in page.items:
            offset = item.offset + 1
            yield b"id: %d\nevent: item\ndata: %b\n\n" % (item.offset, orjson.dumps(shown(item)))
        if page.closed:
            yield b"event: end\ndata: %b\n\n" % orjson.dumps({"run_id": run_id, "next_offset": offset})
        elif not page.items:
            yield b": still here\n\n"


# values
async def published(request: Request) -> Response:
    """Get the newest value of each key that a run has published, also after its end."""
    read_query(request, ())
    run = await seen(request, await callers.visitor(request))
    return Json({"run_id": run.run_id, "values": await live(request).published(run.run_id)})


# updates and queries
async def update(request: Request) -> Response:
    """Send an update to a run and wait for its answer; 202 says that it is sent, and not answered in time.

    Repeated under the same `update_id` it gets the same answer. What the run refuses is a 422 and leaves no trace in
    its journal; a run that has ended, and an update that failed, are a 409.
    """
    read_query(request, ())
    asked = read_body(await request.body(), UPDATE)
    actor = await callers.visitor(request) or ANONYMOUS
    run = await seen(request, actor)
    if not may_control(actor, run):
        actor.require(RUNS_CONTROL)
    update_id = asked.get("update_id") or new_id()
    about = {"run_id": run.run_id, "update_id": update_id, "name": asked["name"]}
    timeout = asked.get("timeout", USUAL_WAIT)
    try:
        answer = await live(request).update(
            run.run_id, asked["name"], asked.get("payload"), update_id=update_id, timeout=timeout
        )
    except NoAnswer:
        found = await live(request).find_update(run.run_id, update_id)
        if found is None:
            raise
        return Json(_standing(run.run_id, found), 202)
    return Json({**about, "state": "completed", "answer": answer})


async def update_standing(request: Request) -> Response:
    """Get an update as it stands, and its answer once there is one."""
    read_query(request, ())
    run = await seen(request, await callers.visitor(request))
    update_id = request.path_params["update_id"]
    found = await live(request).find_update(run.run_id, update_id)
    if found is None:
        raise NotFound(f"run {run.run_id} has no update {update_id}")
    return Json(_standing(run.run_id, found))


def _standing(run_id: str, found: Asked) -> dict[str, Any]:
    told = {"run_id": run_id, "update_id": found.request_id, "name": found.name}
    return {**told, "state": found.state, "answer": found.answer}


async def query(request: Request) -> Response:
    """Ask a run that is open what it knows; nothing of it is changed. What it has no query for is a 400.

    A run that has left memory is replayed for it. One that has ended, or is paused, is a 409: read what it published.
    """
    read_query(request, ())
    asked = read_body(await request.body(), QUERY)
    run = await seen(request, await callers.visitor(request))
    timeout = asked.get("timeout", USUAL_WAIT)
    answer = await live(request).query(run.run_id, asked["name"], asked.get("argument"), timeout=timeout)
    return Json({"run_id": run.run_id, "answer": answer})


def routes() -> list[DirectRoute]:
    """Return the routes."""
    one, tag = "/runs/{run_id}", "runs"
    streamed: dict[int, Any] = {
        200: {"description": "Items", "content": {"text/event-stream": {"schema": {"type": "object"}}}}
    }
    answered: dict[int, Any] = {200: UpdateAnswer, 202: UpdateAnswer}
    return [
        route("GET", f"{one}/streams/{{stream}}", items, tag=tag, answers={200: StreamAnswer}, errors=(400, 404, 422),
              parameters=PAGE),
        route("GET", f"{one}/streams/{{stream}}/follow", follow, tag=tag, answers=streamed, errors=(400, 404, 422),
              parameters=[OFFSET]),
        route("GET", f"{one}/published", published, tag=tag, answers={200: PublishedAnswer}, errors=(404, 422)),
        route("POST", f"{one}/updates", update, tag=tag, answers=answered, body=media(UPDATE),
              errors=(400, 401, 403, 404, 409, 413, 422, 503, 504)),
        route("GET", f"{one}/updates/{{update_id}}", update_standing, tag=tag, answers={200: UpdateAnswer},
              errors=(404, 422)),
        route("POST", f"{one}/queries", query, tag=tag, answers={200: QueryAnswer}, body=media(QUERY),
              errors=(400, 401, 404, 409, 413, 422, 503, 504)),
    ]  # fmt: skip
