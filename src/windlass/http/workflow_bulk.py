"""Routes that do things again, or to many runs at once, and say before what would be done."""

from __future__ import annotations

import hashlib
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from windlass.contexts.records.api import read_moment
from windlass.contexts.workflows.api import Fork, unfit
from windlass.engine.errors import RunConflict
from windlass.engine.types import Status
from windlass.http.access import needs
from windlass.http.bodies import Field, media, read_body, read_fields, text
from windlass.http.callers import caller
from windlass.http.query import read_query, waiting_complaint
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, idempotency_key, route
from windlass.http.shapes import WORKFLOW_RUN
from windlass.http.workflow_runs import ACTIONS, PREFIX, runs, shown, told_of_owner
from windlass.kernel.actors import RUNS_CONTROL, Actor
from windlass.kernel.errors import WindlassError
from windlass.storage.run_lists import RunQuery

STATUSES = [status.value for status in Status]
WANTED = {
    "status": Field({"type": "array", "items": {"type": "string", "enum": STATUSES}, "maxItems": len(STATUSES)}),
    "workflow_id": Field({"type": "integer", "minimum": 1, "maximum": 2**63 - 1}),
    "owner": Field(text(200)),
    "created_after": Field(text(40)),
    "created_before": Field(text(40)),
    "failing": Field({"type": "boolean"}),
    "attempt_gte": Field({"type": "integer", "minimum": 1, "maximum": 32_767}),
    "waiting_on": Field(text(200), check=waiting_complaint),
    "error_class": Field(text(200)),
}
SECRETS = Field({"type": "object", "additionalProperties": text(16_384, least=0)})
FORK = {
    "from_step": Field(text(200), required=True),
    "inputs": Field({"type": "object"}),
    "secrets": SECRETS,
    "dry_run": Field({"type": "boolean"}),
}
BULK = {
    "action": Field({"type": "string", "enum": [*ACTIONS, "fork"]}, required=True),
    "filter": Field({"type": "object"}, required=True),
    "from_step": Field(text(200)),
    "inputs": Field({"type": "object"}),
    "reason": Field(text(300)),
    "dry_run": Field({"type": "boolean"}),
}
PREVIEWED = 50
"""Of how many runs a preview names the steps, or why they are left alone; the others it counts."""


async def fork(request: Request) -> Response:
    """Start a run that takes over what another had done before `from_step`; `dry_run` only says what is done anew."""
    actor = await caller(request)
    read_query(request, ())
    asked = read_body(await request.body(), FORK)
    run_id = request.path_params["run_id"]
    if asked.get("dry_run"):
        return Json({"dry_run": True, "reexecutes": await runs(request).steps_again(actor, run_id, asked["from_step"])})
    wanted = Fork(asked["from_step"], asked.get("inputs"), asked.get("secrets") or {}, idempotency_key(request))
    made, _ = await runs(request).fork(actor, run_id, wanted)
    return Json(shown(made))


async def bulk(request: Request) -> Response:
    """Do something to every run that a filter matches, the oldest 1,000 at a time; `dry_run` only says to which."""
    actor = await caller(request)
    read_query(request, ())
    asked = read_body(await request.body(), BULK)
    query = _query(actor, asked["filter"])
    await told_of_owner(request, actor, asked["filter"].get("owner"))
    found = await runs(request).select(query)
    if asked.get("dry_run"):
        return Json(await _preview(request, actor, asked, found))
    key = idempotency_key(request) if asked["action"] == "fork" else None
    done = [await _one(request, actor, asked, run_id, key) for run_id, _ in found]
    failed = sum(not one["ok"] for one in done)
    return Json({"matched": len(found), "done": len(done) - failed, "failed": failed, "runs": done})


def _query(actor: Actor, given: dict[str, Any]) -> RunQuery:
    wanted = read_fields(given, WANTED, ("body", "filter"))
    owner = wanted.pop("owner", None) if actor.administers_workflows else actor.user_id
    statuses = tuple(wanted.pop("status", ()))
    for name in wanted.keys() & {"created_after", "created_before"}:
        wanted[name] = read_moment(wanted[name], name, end=name == "created_before")
    return RunQuery("workflows.run", actor.tenant_id, owner=owner, statuses=statuses, **wanted)


async def _one(request: Request, actor: Actor, asked: dict[str, Any], run_id: str, key: str | None) -> dict[str, Any]:
    try:
        if asked["action"] == "fork":
            made, new = await runs(request).fork(actor, run_id, _fork(asked, run_id, key))
            if made.run_id == run_id:
                return {"run_id": run_id, "ok": True, "result": "already_applied"}
            result = "applied" if new else "already_applied"
            return {"run_id": run_id, "ok": True, "result": result, "new_run_id": made.run_id}
        done = await runs(request).control(actor, run_id, asked["action"], asked.get("reason"))
    except WindlassError as error:
        if key is not None and isinstance(error, RunConflict):
            raise
        return {"run_id": run_id, "ok": False, "code": error.code, "detail": str(error)}
    return {"run_id": run_id, "ok": True, "result": done.result}


def _fork(asked: dict[str, Any], run_id: str, key: str | None) -> Fork:
    """Return the fork of one of many runs; repeated under its key, the request starts none twice."""
    step, inputs = asked.get("from_step", ""), asked.get("inputs")
    if key is None:
        return Fork(step, inputs)
    batch = hashlib.sha256(key.encode()).hexdigest()[:32]
    return Fork(step, inputs, key=f"{batch}:{run_id}", batch=batch, batch_says={**asked, "dry_run": False})


async def _preview(
    request: Request, actor: Actor, asked: dict[str, Any], found: list[tuple[str, str]]
) -> dict[str, Any]:
    said = [(run_id, unfit(asked["action"], status)) for run_id, status in found]
    skipped = [{"run_id": run_id, "reason": reason} for run_id, reason in said if reason is not None]
    matched = [run_id for run_id, reason in said if reason is None]
    shown_runs = []
    for run_id in matched[:PREVIEWED]:
        again: list[str] = []
        if asked["action"] in {"retry", "fork"}:
            again = await runs(request).steps_again(actor, run_id, asked.get("from_step"))
        shown_runs.append({"run_id": run_id, "reexecutes": again})
    told = {"skipped": len(skipped), "skipped_runs": skipped[:PREVIEWED]}
    return {"dry_run": True, "matched": len(matched), "runs": shown_runs, **told}


def routes() -> list[DirectRoute]:
    """Return the routes."""
    tag, errors = "workflow runs", (400, 401, 403, 404, 413, 422)
    ok: dict[int, Any] = {200: {"description": "Done", "content": {"application/json": {"schema": {"type": "object"}}}}}
    access = needs(RUNS_CONTROL)
    return [
        route("POST", f"{PREFIX}/runs/bulk", bulk, tag=tag, access=access, answers=ok,
              errors=(*errors, 409), keyed=True, body=media(BULK)),
        route("POST", f"{PREFIX}/runs/{{run_id}}/fork", fork, tag=tag, access=access, answers={200: WORKFLOW_RUN},
              errors=(*errors, 409, 429), keyed=True, body=media(FORK)),
    ]  # fmt: skip
