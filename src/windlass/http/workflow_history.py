"""Routes that look into a run of a definition: its events, also as they come, its steps, and how it failed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar
from urllib.parse import urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from windlass.contexts.workflows.api import investigation, shown_attempts, shown_steps
from windlass.engine.engine import Engine
from windlass.engine.types import TERMINAL, Event, RunView
from windlass.http.access import needs
from windlass.http.callers import caller
from windlass.http.query import Parameter, free, integer, many, read_query
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, application, route
from windlass.http.schemas import ExplainAnswer
from windlass.http.workflow_runs import PREFIX, runs
from windlass.kernel.actors import RUNS_READ
from windlass.kernel.clock import to_iso
from windlass.kernel.errors import Issue, ValidationFailed
from windlass.storage.cursors import pack, unpack
from windlass.storage.explain import explain_run

T = TypeVar("T")

TYPES = many("types", "Only events of these types")
EVENTS: list[Parameter] = [
    integer("since", "Only events after this number", least=0, default=0),
    integer("limit", "Events on a page", least=1, default=500, most=1000),
    TYPES,
    free("cursor", "The `Next-Cursor` of the page before; wins over `since`"),
]
STREAM: list[Parameter] = [integer("since", "Only events after this number", least=0, default=0), TYPES]
_SCAN = 20
"""How many pages of events are looked through for those of the wanted types, at most."""


def shown(event: Event) -> dict[str, Any]:
    """Return an event as the contract has it."""
    return {
        "event_seq": event.seq,
        "event_type": event.type,
        "step_id": event.step_id,
        "payload": orjson.Fragment(event.payload),
        "created_at": to_iso(event.at),
    }


async def events(request: Request) -> Response:
    """Get the events of a run, in order."""
    actor = await caller(request)
    asked = read_query(request, EVENTS)
    run_id, limit, types = request.path_params["run_id"], asked["limit"], frozenset(asked["types"])
    since = asked["since"] if asked["cursor"] is None else unpack(asked["cursor"], _position)
    found: list[Event] = []
    page: list[Event] = []
    for _ in range(_SCAN if types else 1):
        page = await runs(request).events(actor, run_id, since, limit)
        found += [event for event in page if not types or event.type in types][: limit - len(found)]
        if len(page) < limit or len(found) == limit:
            break
        since = page[-1].seq
    headers = {}
    if len(found) == limit or (types and len(page) == limit):
        last = found[-1].seq if len(found) == limit else page[-1].seq
        cursor = pack({"last_seq": last})
        kept = {"limit": limit, "types": sorted(types), "cursor": cursor}
        headers = {
            "Next-Cursor": cursor,
            "Link": f'<{request.url.path}?{urlencode(kept, doseq=True)}>; rel="next"',
        }
    return Json([shown(event) for event in found], headers=headers)


def _position(told: Any) -> int:
    return int(told["last_seq"])


async def steps(request: Request) -> Response:
    """Get every execution of every step, in the order of their starts."""
    actor = await caller(request)
    read_query(request, ())
    run, history = await runs(request).history(actor, request.path_params["run_id"])
    return Json({"run_id": run.run_id, "steps": shown_steps(run, history)})


async def attempts(request: Request) -> Response:
    """Get the attempts of a step."""
    actor = await caller(request)
    read_query(request, ())
    step_id = request.path_params["step_id"]
    run, history = await runs(request).history(actor, request.path_params["run_id"])
    return Json({"run_id": run.run_id, "step_id": step_id, "attempts": shown_attempts(run, history, step_id)})


async def investigate(request: Request) -> Response:
    """Say how a run failed, what shows it, and what to do about it."""
    actor = await caller(request)
    read_query(request, ())
    run, history = await runs(request).history(actor, request.path_params["run_id"])
    return Json(investigation(run, history, {}, inside=actor.administers_workflows))


async def explain(request: Request) -> Response:
    """Say why a run stands where it does: the reason, what is in the way, since when, and when it goes on."""
    actor = await caller(request)
    read_query(request, ())
    run = await runs(request).get(actor, request.path_params["run_id"])
    return Json((await explain_run(application(request).engine, run.run_id))._asdict())


# as they come
async def stream(request: Request) -> Response:
    """Follow the events of a run as server-sent events; `Last-Event-ID` resumes, `end` is the last one."""
    actor = await caller(request)
    asked = read_query(request, STREAM)
    run = await runs(request).get(actor, request.path_params["run_id"])
    since = asked["since"]
    last = request.headers.get("last-event-id")
    if last is not None:
        if not (last.isascii() and last.isdigit() and len(last) <= 18):
            message = "Input should be the number of an event"
            raise ValidationFailed([Issue(("header", "Last-Event-ID"), message, "header_invalid")])
        since = int(last)
    body = _sent(application(request).engine, run, since, frozenset(asked["types"]))
    return StreamingResponse(body, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _sent(engine: Engine, run: RunView, since: int, types: frozenset[str]) -> AsyncIterator[bytes]:
    """Yield events, and the end once it has come; who follows from a number that is still to come is asked after."""
    ended = run.status in TERMINAL or since > run.last_seq
    async for news in engine.follow(run.run_id, since):
        if lines := chosen(news, news.each(_line), types):
            yield b"".join(lines)
        if ended or any(one.type in _ENDS for one in news):
            run = await engine.get_run(run.run_id)
            if run.status in TERMINAL and (not news or news[-1].seq >= run.last_seq):
                yield b"event: end\ndata: %b\n\n" % orjson.dumps({"run_id": run.run_id, "status": run.status})
                return
            ended = run.status in TERMINAL or since > run.last_seq
        if not news:
            yield b": still here\n\n"


def chosen(news: Iterable[Event], lines: list[T], types: frozenset[str]) -> list[T]:
    """Return the lines of those events that are of one of the types, where some are named."""
    return [line for one, line in zip(news, lines, strict=True) if one.type in types] if types else lines


def _line(event: Event) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.seq, event.type.encode(), orjson.dumps(shown(event)))


_ENDS = frozenset({"run_completed", "run_failed", "run_cancelled"})


def routes() -> list[DirectRoute]:
    """Return the routes."""
    tag, run = "workflow runs", f"{PREFIX}/runs/{{run_id}}"

    def json(description: str, kind: str = "object") -> dict[int, Any]:
        return {200: {"description": description, "content": {"application/json": {"schema": {"type": kind}}}}}

    streamed: dict[int, Any] = {
        200: {"description": "Events", "content": {"text/event-stream": {"schema": {"type": "object"}}}}
    }
    shared: dict[str, Any] = {"tag": tag, "access": needs(RUNS_READ), "errors": (401, 404, 422)}
    tried = f"{run}/steps/{{step_id}}/attempts"
    return [
        route("GET", f"{run}/events", events, answers=json("Events", "array"), parameters=EVENTS, **shared),
        route("GET", f"{run}/events/stream", stream, answers=streamed, parameters=STREAM, **shared),
        route("GET", f"{run}/steps", steps, answers=json("Executions of steps"), **shared),
        route("GET", tried, attempts, answers=json("Attempts"), **shared),
        route("GET", f"{run}/explain", explain, answers={200: ExplainAnswer}, **shared),
        route("GET", f"{run}/investigation", investigate, answers=json("What is known"), **shared),
    ]
