"""Routes of runs of definitions: starting, listing, controlling."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from windlass.contexts.workflows.api import Order, Runs
from windlass.engine.types import RunView, Status
from windlass.http.access import needs, scoped
from windlass.http.bodies import REASON, Field, media, read_body, text
from windlass.http.callers import caller
from windlass.http.query import Parameter, choice, free, integer, many, moment, narrowing, page_of_runs, read_query
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, Handler, application, idempotency_key, route
from windlass.http.shapes import WORKFLOW_RUN, WORKFLOW_RUNS
from windlass.kernel.actors import RUNS_CONTROL, RUNS_READ, Actor
from windlass.kernel.clock import from_iso, to_iso
from windlass.kernel.errors import Invalid, Issue, ValidationFailed
from windlass.kernel.spans import TRACEPARENT, checked_traceparent
from windlass.storage.cursors import pack, unpack
from windlass.storage.run_lists import ORDERS, RunQuery

PREFIX = "/api/v1/workflows"
NAMED = frozenset({"rejected_by_human", "human_timeout"})
"""Failures whose code is all that the contract says of them."""
ACTIONS = ("pause", "resume", "cancel", "retry")
KEY = text(200)
ORDER = {
    "inputs": Field({"type": "object"}),
    "idempotency_key": Field(KEY),
    "session_id": Field(text(200)),
    "secrets": Field({"type": "object", "additionalProperties": text(16_384, least=0)}),
    "validation_mode": Field({"type": "string", "enum": ["block", "non-block"]}),
    "priority": Field({"type": "integer", "minimum": -100, "maximum": 100}),
}
ADHOC = {**ORDER, "definition": Field({"type": "object"}, required=True)}
SECRETS = {"secrets": Field({"type": "object", "additionalProperties": text(16_384, least=0)}, required=True)}
MODE = [free("mode", "`async` answers at once, anything else waits for the end")]
LIST: list[Parameter] = [
    many("status", "Only runs in these statuses"),
    free("owner", "Only runs of this user; heard from administrators"),
    integer("workflow_id", "Only runs of this definition", least=1),
    moment("created_after", "Only runs created then or later"),
    moment("created_before", "Only runs created then or earlier", end=True),
    integer("last_n_hours", "Only runs created so recently; wins over `created_after`", least=1, cap=87_600),
    *narrowing(),
    free("order_by", "`created_at`, `started_at` or `ended_at`"),
    choice("order", ["desc", "asc"], "The newest or the oldest first", "desc"),
    page_of_runs(),
    integer("offset", "Runs to pass over", least=0, default=0),
    free("cursor", "The `next_cursor` of the page before"),
]


def runs(request: Request) -> Runs:
    """Return the runs of definitions."""
    return application(request).workflows.runs


def shown(run: RunView, *, with_id: bool = True) -> dict[str, Any]:
    """Return a run as the contract has it."""
    inputs = run.inputs if isinstance(run.inputs, dict) else {}
    error = None if run.error is None else run.error.get("message")
    return {
        "id": run.run_id if with_id else None,
        "run_id": run.run_id,
        "workflow_id": run.workflow_id,
        "user_id": run.owner,
        "status": run.status,
        "status_reason": reason(run),
        "inputs": inputs.get("inputs", {}),
        "outputs": run.outputs,
        "error": error,
        "definition_version": run.attributes.get("version"),
        "validation_mode": run.attributes.get("validation_mode", "block"),
    }


def reason(run: RunView) -> str | None:
    """Return why a run stands where it does, in the contract's words."""
    if run.status == Status.FAILED and run.error is not None:
        message = str(run.error.get("message"))
        code = message.partition(":")[0]
        return code if code in NAMED else message
    return run.status_reason


# starting
async def run_saved(request: Request) -> Response:
    """Start a run of a saved definition."""
    actor = await caller(request)
    order = await _order(request, ORDER)
    run = await runs(request).start_saved(actor, workflow_id(request), order)
    return Json(shown(run, with_id=False))


async def run_adhoc(request: Request) -> Response:
    """Start a run of a definition that is not saved."""
    actor = await caller(request)
    asked = read_body(await request.body(), ADHOC)
    document = asked.pop("definition")
    run = await runs(request).start_adhoc(actor, document, _ordered(request, asked))
    return Json(shown(run))


async def _order(request: Request, fields: dict[str, Field]) -> Order:
    return _ordered(request, read_body(await request.body(), fields))


def _ordered(request: Request, asked: dict[str, Any]) -> Order:
    header = idempotency_key(request)
    key = asked.pop("idempotency_key", None)
    if header is not None and key not in {None, header}:
        message = "idempotency_key and the header Idempotency-Key differ: give one"
        raise Invalid(message, field="idempotency_key")
    mode = read_query(request, MODE)["mode"] or "async"
    above = application(request).contexts.spans.traceparent() or checked_traceparent(request.headers.get(TRACEPARENT))
    how = "async" if mode.lower() == "async" else "sync"
    return Order(**asked, idempotency_key=key or header, mode=how, traceparent=above)


def workflow_id(request: Request) -> int:
    """Return the number of the definition in the path.

    Raises:
        ValidationFailed: it is none.
    """
    given = request.path_params["workflow_id"]
    if not (given.isascii() and given.isdigit() and len(given) <= 18):
        raise ValidationFailed([Issue(("path", "workflow_id"), "Input should be a valid integer", "int_parsing")])
    return int(given)


# reading
async def listing(request: Request) -> Response:
    """List runs: the caller's own, or for administrators those of `owner`."""
    actor = await caller(request)
    asked = read_query(request, LIST)
    query = _query(request, actor, asked)
    await told_of_owner(request, actor, asked["owner"])
    found = await runs(request).page(query._replace(limit=query.limit + 1))
    page = found[: query.limit]
    more = len(found) > query.limit
    cursor = _cursor(query, page[-1]) if more else None
    in_cursor = query.after is not None
    body = {
        "runs": [_row(run) for run in page],
        "next_offset": query.offset + query.limit if more and not in_cursor else None,
        "next_cursor": cursor,
        "limit": query.limit,
        "offset": query.offset,
        "has_more": more,
    }
    links = _links(request, query, asked, cursor, more=more)
    return Json(body, headers={"Link": links} if links else None)


async def told_of_owner(request: Request, actor: Actor, owner: str | None) -> None:
    """Tell the audit log of a caller who asks for the runs of somebody else, allowed to or not."""
    if owner is None or owner == actor.user_id:
        return
    if actor.administers_workflows:
        await runs(request).trail.note(actor, "run.admin_override", "run:*", {"action": "list", "owner_id": owner})
    else:
        told = {"reason": "owner_filter_denied", "owner_id": owner}
        await runs(request).trail.note(actor, "run.denied", "run:*", told)


def _query(request: Request, actor: Actor, asked: dict[str, Any]) -> RunQuery:
    after = asked["created_after"]
    if asked["last_n_hours"] is not None:
        now = application(request).engine.clock.now()
        after = to_iso(now - timedelta(hours=asked["last_n_hours"]) // timedelta(microseconds=1))
    order_by = asked["order_by"] if asked["order_by"] in ORDERS else "created_at"
    query = RunQuery(
        "workflows.run",
        actor.tenant_id,
        owner=asked["owner"] if asked["owner"] and actor.administers_workflows else actor.user_id,
        workflow_id=asked["workflow_id"],
        statuses=_statuses(asked["status"]),
        created_after=after,
        created_before=asked["created_before"],
        failing=asked["failing"],
        attempt_gte=asked["attempt_gte"],
        waiting_on=asked["waiting_on"],
        error_class=asked["error_class"],
        order_by=order_by,
        descending=asked["order"] == "desc",
        offset=asked["offset"],
        limit=asked["limit"],
    )
    return query if asked["cursor"] is None else _at(query, asked["cursor"])


def _statuses(given: tuple[str, ...]) -> tuple[str, ...]:
    known = [status.value for status in Status]
    for one in given:
        if one not in known:
            message = f"Input should be {' or '.join(map(repr, known))}"
            raise ValidationFailed([Issue(("query", "status"), message, "enum")])
    return given


def _cursor(query: RunQuery, last: RunView) -> str:
    at = getattr(last, query.order_by)
    told = {"order_by": query.order_by, "order_desc": query.descending, "last_ts": at, "last_id": last.run_id}
    return pack(told)


def _at(query: RunQuery, cursor: str) -> RunQuery:
    """Return the query at a cursor, whose order wins; one that cannot be read is refused: it would begin anew."""
    order_by, descending, after = unpack(cursor, _place)
    return query._replace(order_by=order_by, descending=descending, after=after, offset=0)


def _place(told: Any) -> tuple[str, bool, tuple[str, str]]:
    order_by, at, run_id = told["order_by"], str(told["last_ts"]), str(told["last_id"])
    if order_by not in ORDERS:
        raise ValueError(order_by)
    from_iso(at)
    return order_by, bool(told["order_desc"]), (at, run_id)


def _links(request: Request, query: RunQuery, asked: dict[str, Any], cursor: str | None, *, more: bool) -> str:
    left_out = {None, (), False}
    said = {name: "true" if value is True else value for name, value in asked.items() if value not in left_out}
    kept = {**said, "status": list(asked["status"])}
    kept.pop("cursor", None)
    kept.pop("offset", None)

    def link(rel: str, **place: Any) -> str:
        return f'<{request.url.path}?{urlencode({**kept, **place}, doseq=True)}>; rel="{rel}"'

    links = [link("next", cursor=cursor)] if cursor is not None else []
    if query.after is None:
        links.append(link("first", offset=0))
        if query.offset > 0:
            links.append(link("prev", offset=max(0, query.offset - query.limit)))
        if not more:
            links.append(link("last", offset=query.offset))
    return ", ".join(links)


def _row(run: RunView) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "workflow_id": run.workflow_id,
        "workflow_name": run.attributes.get("workflow_name"),
        "user_id": run.owner,
        "status": run.status,
        "status_reason": reason(run),
        "definition_version": run.attributes.get("version"),
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
    }


async def get(request: Request) -> Response:
    """Get one run."""
    actor = await caller(request)
    read_query(request, ())
    return Json(shown(await runs(request).get(actor, request.path_params["run_id"])))


# controlling
async def control(request: Request) -> Response:
    """Pause, resume, cancel or retry a run; one whose state does not allow it is left alone, with a 409."""
    actor = await caller(request)
    action = request.path_params["action"]
    if action not in ACTIONS:
        raise Invalid("Unsupported action", field="action")
    asked = read_body(await request.body(), REASON, optional=True)
    done = await runs(request).control(actor, request.path_params["run_id"], action, asked.get("reason"))
    applied = "applied" if done.result in {"applied", "sent"} else "already_applied"
    return Json({"ok": True, "result": applied})


async def supply(request: Request) -> Response:
    """Give a run the secrets that died with their holder; a run that waits for them goes on."""
    actor = await caller(request)
    asked = read_body(await request.body(), SECRETS)
    done = await runs(request).supply(actor, request.path_params["run_id"], asked["secrets"])
    return Json({"ok": True, "result": done.result})


def routes() -> list[DirectRoute]:
    """Return the routes."""
    tag, run = "workflow runs", f"{PREFIX}/runs/{{run_id}}"
    ok: dict[int, Any] = {200: {"description": "Done", "content": {"application/json": {"schema": {"type": "object"}}}}}

    def start(path: str, handler: Handler, endpoint: str, fields: dict[str, Field], *errors: int) -> DirectRoute:
        access = scoped(endpoint, runs=True)
        return route("POST", path, handler, tag=tag, access=access, answers={200: WORKFLOW_RUN}, parameters=MODE,
                     keyed=True, errors=errors, body=media(fields))  # fmt: skip

    reading: dict[str, Any] = {"tag": tag, "access": needs(RUNS_READ)}
    controlling: dict[str, Any] = {"tag": tag, "access": needs(RUNS_CONTROL), "answers": ok}
    return [
        start(f"{PREFIX}/run", run_adhoc, "workflows.run_adhoc", ADHOC, 400, 401, 403, 409, 413, 422, 429),
        route("GET", f"{PREFIX}/runs", listing, answers={200: WORKFLOW_RUNS}, errors=(400, 401, 422),
              parameters=LIST, **reading),
        route("GET", run, get, answers={200: WORKFLOW_RUN}, errors=(401, 404, 422), **reading),
        route("POST", f"{run}/secrets", supply, errors=(401, 404, 413, 422), body=media(SECRETS), **controlling),
        route("POST", f"{run}/{{action}}", control, errors=(400, 401, 404, 409, 413, 422),
              body=media(REASON), body_required=False, **controlling),
        start(f"{PREFIX}/{{workflow_id}}/run", run_saved, "workflows.run_saved", ORDER, 400, 401, 404, 409, 413, 422,
              429),
    ]  # fmt: skip
