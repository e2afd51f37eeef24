"""Routes of runs: a small surface to look at them and to control them."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from windlass.contexts.workflows.api import may_control, may_see, sight
from windlass.engine.errors import UnknownRun
from windlass.engine.types import RunFilter, RunView, Status
from windlass.http import callers
from windlass.http.bodies import REASON, media, read_body
from windlass.http.query import Parameter, choice, free, integer, moment, narrowing, page_of_runs, read_query
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, Handler, application, route
from windlass.http.schemas import ControlAnswer, EventsAnswer, ExplainAnswer, RunAnswer, RunsAnswer
from windlass.kernel.actors import RUNS_CONTROL, Actor
from windlass.kernel.clock import from_iso, to_iso
from windlass.storage.cursors import pack, unpack
from windlass.storage.explain import explain_run

ANONYMOUS = Actor("user", "anonymous", kind="anonymous")
"""Who may write because no key is asked for, and has shown a credential that is not known."""
MAX_EVENTS = 1000
ID_LENGTH = 200
LIST: list[Parameter] = [
    choice("status", [status.value for status in Status], "Only runs in this status"),
    free("name", "Only runs of this workflow"),
    free("queue", "Only runs of this queue"),
    free("parent_run_id", "Only children of this run"),
    moment("created_after", "Only runs created at this time or later"),
    moment("created_before", "Only runs created at this time or earlier", end=True),
    *narrowing(),
    page_of_runs(),
    free("cursor", "The `next_cursor` of the page before"),
]
EVENTS: list[Parameter] = [
    integer("since", "Only events after this number", least=0, default=0),
    integer("limit", f"Events; more than {MAX_EVENTS} is {MAX_EVENTS}", least=1, default=500, cap=MAX_EVENTS),
]


async def listing(request: Request) -> Response:
    """List runs, newest first."""
    asked = read_query(request, LIST)
    limit = asked["limit"]
    before = None if asked["cursor"] is None else unpack(asked["cursor"], _position)
    found = await application(request).engine.list_runs(
        RunFilter(
            status=() if asked["status"] is None else (asked["status"],),
            name=asked["name"],
            queue=asked["queue"],
            parent_run_id=asked["parent_run_id"],
            created_after=asked["created_after"],
            created_before=asked["created_before"],
            before=before,
            failing=asked["failing"],
            attempt_gte=asked["attempt_gte"],
            waiting_on=asked["waiting_on"],
            error_class=asked["error_class"],
            sight=sight(await callers.visitor(request)),
            limit=limit + 1,
        )
    )
    items = found[:limit]
    cursor = pack([items[-1].created_at, items[-1].run_id]) if len(found) > limit else None
    return Json({"items": items, "count": len(items), "next_cursor": cursor})


async def get(request: Request) -> Response:
    """Get one run."""
    read_query(request, ())
    return Json(await seen(request, await callers.visitor(request)))


async def events(request: Request) -> Response:
    """Get the events of a run, in order."""
    asked = read_query(request, EVENTS)
    run = await seen(request, await callers.visitor(request))
    found = await application(request).engine.events(run.run_id, since=asked["since"], limit=asked["limit"] + 1)
    shown = found[: asked["limit"]]
    items = [
        {
            "event_seq": event.seq,
            "event_type": event.type,
            "step_id": event.step_id,
            "payload": orjson.Fragment(event.payload),
            "created_at": to_iso(event.at),
        }
        for event in shown
    ]
    more = shown[-1].seq if len(found) > len(shown) else None
    return Json({"items": items, "count": len(items), "next_since": more})


async def explain(request: Request) -> Response:
    """Say why a run stands where it does: the reason, what is in the way, since when, and when it goes on."""
    read_query(request, ())
    run = await seen(request, await callers.visitor(request))
    return Json((await explain_run(application(request).engine, run.run_id))._asdict())


async def seen(request: Request, actor: Actor | None) -> RunView:
    """Return the run of the path.

    Raises:
        UnknownRun: it is not there, or not for this caller.
    """
    run_id = _run_id(request)
    run = await application(request).engine.get_run(run_id)
    if not may_see(actor, run):
        if actor not in {None, ANONYMOUS}:
            await application(request).workflows.runs.trail.denied(actor, run)
        raise UnknownRun(f"no run {run_id}", run_id=run_id)
    return run


def _control(action: str, words: str) -> Handler:
    async def control(request: Request) -> Response:
        read_query(request, ())
        reason = read_body(await request.body(), REASON, optional=True).get("reason")
        actor = await callers.visitor(request) or ANONYMOUS
        run = await seen(request, actor)
        if not may_control(actor, run):
            actor.require(RUNS_CONTROL)
        done = await application(request).workflows.runs.command(actor, run, action, reason)
        return Json({"run_id": run.run_id, "result": done.result, "status": done.status})

    control.__name__ = action
    control.__doc__ = words
    return control


def _run_id(request: Request) -> str:
    run_id: str = request.path_params["run_id"]
    if len(run_id) > ID_LENGTH or not run_id.isprintable():
        raise UnknownRun("run not found")
    return run_id


def _position(told: Any) -> tuple[str, str]:
    created_at, run_id = map(str, told)
    from_iso(created_at)
    return created_at, run_id


def routes() -> list[DirectRoute]:
    """Return the routes of runs."""
    tag = "runs"
    controls = {
        "cancel": "Cancel a run, its children and its running steps.",
        "pause": "Keep a run from starting further steps.",
        "resume": "Let a paused run go on.",
        "retry": "Open a failed run again from its failed step.",
    }
    return [
        route("GET", "/runs", listing, tag=tag, answers={200: RunsAnswer}, errors=(400, 422), parameters=LIST),
        route("GET", "/runs/{run_id}", get, tag=tag, answers={200: RunAnswer}, errors=(404, 422)),
        route("GET", "/runs/{run_id}/events", events, tag=tag, answers={200: EventsAnswer}, errors=(404, 422),
              parameters=EVENTS),
        route("GET", "/runs/{run_id}/explain", explain, tag=tag, answers={200: ExplainAnswer}, errors=(404, 422)),
        *(
            route("POST", f"/runs/{{run_id}}/{action}", _control(action, words), tag=tag,
                  answers={200: ControlAnswer}, errors=(401, 404, 409, 413, 422), body=media(REASON),
                  body_required=False)
            for action, words in controls.items()
        ),
    ]  # fmt: skip
