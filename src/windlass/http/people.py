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
from windlass.http import callers
from windlass.http.access import needs
from windlass.http.bodies import Field, complaint, media, read_body, text
from windlass.http.query import Parameter, choice, free, integer, read_query
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, Handler, application, route
from windlass.http.schemas import Shape
from windlass.kernel.actors import RUNS_CONTROL, RUNS_READ

BASE = "/api/v1/workflows"
INBOX: list[Parameter] = [
    choice("scope", ["mine", "all"], "`all`: what waits for anybody of the tenant; for administrators", "mine"),
    integer("limit", f"Questions on a page; more than {MAX_LIMIT} is {MAX_LIMIT}", least=1, default=DEFAULT_LIMIT,
            cap=MAX_LIMIT),
    free("cursor", "The `next_cursor` of the page before"),
]  # fmt: skip
PERSON = text(NAME_LENGTH)
DECISION = {
    "comment": Field(text(COMMENT_LENGTH, least=0)),
    "edited_fields": Field({"type": "object"}),
}
REASSIGN = {
    "assigned_to": Field(
        {"anyOf": [PERSON, {"type": "array", "items": PERSON, "minItems": 1, "maxItems": MOST_ASSIGNEES}]},
        required=True,
        check=lambda given: _complaint(given),  # noqa: PLW0108  not there yet
    )
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
        body = read_body(await request.body(), DECISION, optional=True)
        comment, fields = body.get("comment"), body.get("edited_fields")
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
    body = read_body(await request.body(), REASSIGN)
    await application(request).people.reassign(actor, *_place(request), body["assigned_to"])
    return Json({"ok": True})


def _complaint(given: object) -> str | None:
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not 1 <= len(names) <= MOST_ASSIGNEES:
        return f"Input should be a user, or a list of 1 to {MOST_ASSIGNEES}"
    wrong = next((found for name in names if (found := complaint(PERSON, name))), None)
    return "Input should be printable and not blank" if wrong is None and not _printable(names) else wrong


def _printable(names: list[str]) -> bool:
    return all(name.isprintable() and name.strip() for name in names)


def _place(request: Request) -> tuple[str, str]:
    return request.path_params["run_id"], request.path_params["step_id"]


def routes() -> list[DirectRoute]:
    """Return the routes of people."""
    tag = "people"
    step = f"{BASE}/runs/{{run_id}}/steps/{{step_id}}"
    errors = (400, 401, 403, 404, 409, 413, 422)
    decisions = {
        "approve": "Approve what a step asks; the run goes on with what was edited.",
        "reject": "Reject what a step asks.",
    }
    return [
        route("GET", f"{BASE}/inbox", inbox, tag=tag, answers={200: InboxAnswer}, errors=(401, 403, 422),
              parameters=INBOX, access=needs(RUNS_READ)),
        *(
            route("POST", f"{step}/{decision}", _decide(decision, words), tag=tag, answers={200: OkAnswer},
                  errors=errors, body=media(DECISION), body_required=False, access=needs(RUNS_CONTROL))
            for decision, words in decisions.items()
        ),
        route("POST", f"{step}/reassign", reassign, tag=tag, answers={200: OkAnswer}, errors=errors,
              body=media(REASSIGN), access=needs(RUNS_CONTROL)),
    ]  # fmt: skip
