"""Routes of schedules."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from windlass.contexts.records.api import read_json
from windlass.contexts.schedules.api import Changes, Draft, Schedules, Trial, Window
from windlass.http import callers
from windlass.http.access import scoped
from windlass.http.conditions import expected, tag_of
from windlass.http.query import Parameter, Wrong, free, integer, read_query
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, application, idempotency_key, json_headers, route
from windlass.http.schemas import Shape
from windlass.kernel.actors import WORKFLOWS_ADMIN

PREFIX = "/api/v1/scheduler/workflows"
MAX_LIMIT = 200
MAX_OFFSET = 1_000_000
_FIRE_ID = re.compile(r"[0-9a-f-]{36}", re.ASCII)


def _cursor(text: str) -> str:
    if not _FIRE_ID.fullmatch(text):
        raise Wrong("Input should be a cursor that a list has answered", "cursor_invalid")
    return text


LIMIT = integer("limit", "How many at most", least=1, most=MAX_LIMIT, default=50)
LIST = [
    free("owner", "Schedules of this user, or `*` for everybody's; for administrators only"),
    LIMIT,
    integer("offset", "How many to pass over", least=0, most=MAX_OFFSET, default=0),
]
FIRES = [
    LIMIT,
    Parameter("cursor", {"type": "string"}, "The `next_cursor` of the page before", _cursor),
]


class ScheduleAnswer(Shape):
    """A schedule. `firing`: whether any live process fires schedules at all."""

    id: str
    tenant_id: str
    user_id: str
    workflow_id: int | None
    workflow: str | None
    name: str | None
    cron: str
    timezone: str
    inputs: dict[str, Any]
    run_mode: str
    validation_mode: str
    enabled: bool
    require_online: bool
    concurrency_mode: str
    misfire_grace_sec: int
    coalesce: bool
    last_run_at: str | None
    next_run_at: str | None
    last_status: str | None
    created_at: str
    updated_at: str
    firing: bool


class CreatedAnswer(Shape):
    """A new schedule. `firing`: whether any live process fires schedules at all."""

    id: str
    firing: bool


class OkAnswer(Shape):
    """Whether there was something to do it to."""

    ok: bool


class TaskAnswer(Shape):
    """The run that was started; `task_id` is its id."""

    task_id: str
    run_id: str


class TrialAnswer(Shape):
    """When a crontab line fires next."""

    valid: bool
    timezone: str
    next_run_at: str
    next_runs: list[str]
    inputs_preview: dict[str, Any]


class BackfillAnswer(Shape):
    """The run over a window, and how many slots that has; those that fired before are left alone."""

    run_id: str
    slots: int


class FireAnswer(Shape):
    """What became of a slot; `slots` of them where several were folded into one or missed together."""

    fire_id: str
    kind: str
    slot: str | None
    first_slot: str | None
    slots: int
    run_id: str | None
    status: str
    reason: str | None
    created_at: str


class FiresAnswer(Shape):
    """A page of history, newest first."""

    items: list[FireAnswer]
    count: int
    next_cursor: str | None


class RescanAnswer(Shape):
    """`jobs`: enabled schedules; `repaired`: how many of them waited for nothing."""

    ok: bool
    jobs: int
    repaired: int
    firing: bool


def _schedules(request: Request) -> Schedules:
    return application(request).schedules


async def _body(request: Request) -> Any:
    json_headers(request)
    return read_json(await request.body())


async def create(request: Request) -> Response:
    """Make a schedule of a saved workflow (`workflow_id`) or of a Python workflow (`workflow`)."""
    actor = await callers.caller(request)
    read_query(request, ())
    made, firing = await _schedules(request).create(actor, await _body(request))
    return Json({"id": made.id, "firing": firing}, 201)


async def listing(request: Request) -> Response:
    """List one's own schedules, newest first."""
    actor = await callers.caller(request)
    asked = read_query(request, LIST)
    return Json(await _schedules(request).page(actor, asked["owner"], asked["limit"], asked["offset"]))


async def get(request: Request) -> Response:
    """Return a schedule."""
    actor = await callers.caller(request)
    read_query(request, ())
    found = await _schedules(request).get(actor, request.path_params["schedule_id"])
    return Json(found, headers={"ETag": tag_of(_settled(found))})


def _settled(shown: dict[str, Any]) -> dict[str, Any]:
    """Return what of a schedule does not change when it fires: its ETag is for who wants to change it."""
    return {name: value for name, value in shown.items() if name not in _MOVING}


_MOVING = frozenset({"last_run_at", "next_run_at", "last_status", "updated_at", "firing"})


async def change(request: Request) -> Response:
    """Change a schedule; what is left out stays. `enabled` pauses and resumes it."""
    actor = await callers.caller(request)
    read_query(request, ())
    expect = expected(request, _settled)
    await _schedules(request).change(actor, request.path_params["schedule_id"], await _body(request), expect)
    return Json({"ok": True})


async def delete(request: Request) -> Response:
    """Delete a schedule and its history; runs that it started stay."""
    actor = await callers.caller(request)
    read_query(request, ())
    return Json({"ok": await _schedules(request).delete(actor, request.path_params["schedule_id"])})


async def run_now(request: Request) -> Response:
    """Start the schedule's target at once."""
    actor = await callers.caller(request)
    read_query(request, ())
    key = idempotency_key(request)
    run_id = await _schedules(request).run_now(actor, request.path_params["schedule_id"], key)
    return Json({"task_id": run_id, "run_id": run_id})


async def backfill(request: Request) -> Response:
    """Run the slots of a past window that have had no run, at a limited rate, as a durable run."""
    actor = await callers.caller(request)
    read_query(request, ())
    schedule_id = request.path_params["schedule_id"]
    run_id, slots = await _schedules(request).backfill(actor, schedule_id, await _body(request))
    return Json({"run_id": run_id, "slots": slots}, 202)


async def fires(request: Request) -> Response:
    """List what became of a schedule's slots, newest first."""
    actor = await callers.caller(request)
    asked = read_query(request, FIRES)
    schedule_id = request.path_params["schedule_id"]
    found, cursor = await _schedules(request).fires(actor, schedule_id, asked["limit"], asked["cursor"])
    return Json({"items": found, "count": len(found), "next_cursor": cursor})


async def dry_run(request: Request) -> Response:
    """Say when a crontab line fires next, twenty times; nothing is stored."""
    await callers.caller(request)
    read_query(request, ())
    return Json(_schedules(request).preview(await _body(request)))


async def rescan(request: Request) -> Response:
    """Look at every enabled schedule, and repair those whose next slot nothing waits for."""
    actor = await callers.caller(request)
    read_query(request, ())
    found = await _schedules(request).rescan(actor)
    return Json({"ok": True, **found._asdict()})


def _json(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": model.model_json_schema()}}


def routes() -> list[DirectRoute]:
    """Return the routes of schedules."""
    tag, one = "schedules", PREFIX + "/{schedule_id}"
    lists = {"description": "Schedules, newest first", "content": {
        "application/json": {"schema": {"type": "array", "items": ScheduleAnswer.model_json_schema()}},
    }}  # fmt: skip
    return [
        route("POST", PREFIX, create, tag=tag, access=scoped("scheduler.create"), answers={201: CreatedAnswer},
              errors=(400, 413, 422), body=_json(Draft)),
        route("GET", PREFIX, listing, tag=tag, access=scoped("scheduler.list"), answers={200: lists}, errors=(422,),
              parameters=LIST),
        route("POST", f"{PREFIX}/dry-run", dry_run, tag=tag, access=scoped("scheduler.dry_run"),
              answers={200: TrialAnswer}, errors=(400, 413, 422), body=_json(Trial)),
        route("POST", f"{PREFIX}/admin/rescan", rescan, tag=tag, access=scoped("scheduler.rescan", WORKFLOWS_ADMIN),
              answers={200: RescanAnswer}, errors=(422,)),
        route("GET", one, get, tag=tag, access=scoped("scheduler.get"), answers={200: ScheduleAnswer},
              errors=(404, 422), tagged=True),
        route("PATCH", one, change, tag=tag, access=scoped("scheduler.update"), answers={200: OkAnswer},
              errors=(400, 404, 412, 413, 422), body=_json(Changes)),
        route("DELETE", one, delete, tag=tag, access=scoped("scheduler.delete"), answers={200: OkAnswer},
              errors=(422,)),
        route("POST", f"{one}/run-now", run_now, tag=tag, access=scoped("scheduler.run_now", runs=True),
              answers={200: TaskAnswer}, errors=(404, 422, 429), keyed=True),
        route("POST", f"{one}/backfill", backfill, tag=tag, access=scoped("scheduler.backfill"),
              answers={202: BackfillAnswer}, errors=(400, 404, 413, 422), body=_json(Window)),
        route("GET", f"{one}/fires", fires, tag=tag, access=scoped("scheduler.fires"), answers={200: FiresAnswer},
              errors=(404, 422), parameters=FIRES),
    ]  # fmt: skip
