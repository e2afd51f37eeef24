"""Routes of people who decide: what waits for them, approve, reject, hand on."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response

from windlass.contexts.people.api import (
    COMMENT_LENGTH,
    DEFAULT_LIMIT,
    MAX_LIMIT,
    MOST_ASSIGNEES,
    NAME_LENGTH,
    Task,
)
from windlass.contexts.records.api import read_json
from windlass.http import callers
from windlass.http.query import NO_NUL, Parameter, choice, free, integer, read_query
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, Handler, application, route
from windlass.http.schemas import Shape
from windlass.kernel.errors import Issue, ValidationFailed

BASE = "/api/v1/workflows"
INBOX: list[Parameter] = [
    choice("scope", ["mine", "all"], "`all`: what waits for anybody of the tenant; for administrators", "mine"),
    integer("limit", f"Questions on a page; more than {MAX_LIMIT} is {MAX_LIMIT}", least=1, default=DEFAULT_LIMIT,
            cap=MAX_LIMIT),
    free("cursor", "The `next_cursor` of the page before"),
]  # fmt: skip
_PERSON = {"type": "string", "minLength": 1, "maxLength": NAME_LENGTH, "pattern": NO_NUL}
DECISION_BODY: dict[str, Any] = {
    "type": "object",
    "title": "A decision",
    "additionalProperties": False,
    "properties": {
        "comment": {"type": ["string", "null"], "maxLength": COMMENT_LENGTH, "pattern": NO_NUL},
        "edited_fields": {"anyOf": [{"$ref": "#/components/schemas/JsonObject"}, {"type": "null"}]},
    },
}
REASSIGN_BODY: dict[str, Any] = {
    "type": "object",
    "title": "Who is asked instead",
    "additionalProperties": False,
    "required": ["assigned_to"],
    "properties": {
        "assigned_to": {
            "anyOf": [_PERSON, {"type": "array", "items": _PERSON, "minItems": 1, "maxItems": MOST_ASSIGNEES}]
        }
    },
}


class OkAnswer(Shape):
    """It was done."""

    ok: Literal[True]


class QuestionAnswer(Shape):
    """A question that waits for people; ``approvals`` of the ``quorum`` have said yes."""

    task_id: str
    run_id: str
    step_id: str
    workflow: str
    kind: Literal["human", "approval"]
    owner: str | None
    assigned_to: list[str]
    instructions: str
    form_schema: dict[str, Any] | None
    quorum: int
    approvals: int
    reminders: int
    opened_at: datetime
    due_at: datetime | None


class InboxAnswer(Shape):
    """A page of questions, oldest first."""

    items: list[QuestionAnswer]
    count: int
    next_cursor: str | None


async def inbox(request: Request) -> Response:
    """List what waits for the caller's decision, oldest first."""
    asked = read_query(request, INBOX)
    actor = await callers.caller(request)
    page = await application(request).people.inbox(
        actor, everybody=asked["scope"] == "all", cursor=asked["cursor"], limit=asked["limit"]
    )
    items = [shown(task) for task in page.items]
    return Json({"items": items, "count": len(items), "next_cursor": page.next_cursor})


def shown(task: Task) -> dict[str, Any]:
    """Return a question as the API shows it."""
    return {name: getattr(task, name) for name in QuestionAnswer.model_fields}


def _decide(decision: str, words: str) -> Handler:
    async def decide(request: Request) -> Response:
        read_query(request, ())
        actor = await callers.caller(request)
        body = read_body(await request.body(), DECISION_BODY)
        comment, fields = body.get("comment"), body.get("edited_fields")
        issues = []
        if comment is not None and not isinstance(comment, str):
            issues.append(Issue(("body", "comment"), "Input should be a string", "string_type"))
        if fields is not None and not isinstance(fields, dict):
            issues.append(Issue(("body", "edited_fields"), "Input should be an object", "object_type"))
        if issues:
            raise ValidationFailed(issues)
        people = application(request).people
        await people.decide(actor, *_place(request), decision, comment, fields)
        return Json({"ok": True})

    decide.__name__ = decision
    decide.__doc__ = words
    return decide


async def reassign(request: Request) -> Response:
    """Ask others instead of those who are asked."""
    read_query(request, ())
    actor = await callers.caller(request)
    body = read_body(await request.body(), REASSIGN_BODY)
    await application(request).people.reassign(actor, *_place(request), _assignees(body))
    return Json({"ok": True})


def _assignees(body: dict[str, Any]) -> str | list[str]:
    given = body.get("assigned_to")
    names = [given] if isinstance(given, str) else given
    if isinstance(names, list) and 1 <= len(names) <= MOST_ASSIGNEES and all(isinstance(name, str) for name in names):
        return names
    kind = "string_type" if "assigned_to" in body else "missing"
    message = f"Input should be a user, or a list of 1 to {MOST_ASSIGNEES}"
    raise ValidationFailed([Issue(("body", "assigned_to"), message, kind)])


def read_body(raw: bytes, schema: dict[str, Any]) -> dict[str, Any]:
    """Return an object with known fields alone; no body at all is an empty one.

    Raises:
        ValidationFailed: it is no JSON object, or has other fields; names each.
    """
    value = read_json(raw) if raw.strip() else {}
    if not isinstance(value, dict):
        raise ValidationFailed([Issue(("body",), "Input should be an object", "object_type")])
    unknown = [name for name in value if name not in schema["properties"]]
    if unknown:
        raise ValidationFailed([
            Issue(("body", name), "Extra inputs are not permitted", "extra_forbidden") for name in unknown
        ])  # fmt: skip
    return value


def _place(request: Request) -> tuple[str, str]:
    return request.path_params["run_id"], request.path_params["step_id"]


def routes() -> list[DirectRoute]:
    """Return the routes of people."""
    tag = "people"
    step = f"{BASE}/runs/{{run_id}}/steps/{{step_id}}"
    optional = {"application/json": {"schema": DECISION_BODY}}
    errors = (400, 401, 403, 404, 409, 413, 422)
    decisions = {
        "approve": "Approve what a step asks; the run goes on with what was edited.",
        "reject": "Reject what a step asks.",
    }
    return [
        route("GET", f"{BASE}/inbox", inbox, tag=tag, answers={200: InboxAnswer}, errors=(401, 403, 422),
              parameters=INBOX),
        *(
            route("POST", f"{step}/{decision}", _decide(decision, words), tag=tag, answers={200: OkAnswer},
                  errors=errors, body=optional, body_required=False)
            for decision, words in decisions.items()
        ),
        route("POST", f"{step}/reassign", reassign, tag=tag, answers={200: OkAnswer}, errors=errors,
              body={"application/json": {"schema": REASSIGN_BODY}}),
    ]  # fmt: skip
