"""Routes of definitions: saving, reading, comparing and choosing their versions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from windlass.contexts.workflows.api import (
    DEFINITION,
    LONGEST_NAME,
    LONGEST_TAG,
    MODES,
    Definitions,
    ListQuery,
    Row,
    Stored,
    read_document,
)
from windlass.http.access import ANYBODY, needs
from windlass.http.bodies import an_object, unknown
from windlass.http.callers import caller
from windlass.http.conditions import expected, tag_of
from windlass.http.definition_answers import (
    DefinitionAnswer,
    DeletedAnswer,
    DiffAnswer,
    PreflightAnswer,
    WorkflowAnswer,
    WorkflowsAnswer,
)
from windlass.http.discovery import discovery_routes
from windlass.http.query import NO_NUL, Parameter, Wrong, choice, free, integer, read_query
from windlass.http.responses import Json
from windlass.http.routing import UNCHANGED, DirectRoute, application, is_yaml, route, template_of
from windlass.kernel.actors import RUNS_READ, Actor, Forbidden
from windlass.kernel.errors import Issue, ValidationFailed
from windlass.storage.cursors import pack, refused, unpack

PREFIX = "/api/v1/workflows"
ONE = PREFIX + "/{workflow_id}"
MOST_PAGE = 200
MOST_DIGITS = 18
_NUMBER = re.compile(r"-?\d{1,40}", re.ASCII)
BODY: dict[str, Any] = {
    "application/json": {"schema": DEFINITION},
    "application/yaml": {"schema": {"type": "string"}},
    "text/yaml": {"schema": {"type": "string"}},
}
PREFLIGHT_BODY: dict[str, Any] = {
    "application/json": {
        "schema": {
            "type": "object",
            "title": "A draft to look at",
            "additionalProperties": False,
            "required": ["definition"],
            "properties": {
                "definition": {"$ref": "#/components/schemas/Json"},
                "validation_mode": {"enum": list(MODES), "default": "block"},
            },
        }
    }
}


def _text(name: str, description: str, most: int = LONGEST_NAME) -> Parameter:
    def read(text: str) -> str:
        if not 1 <= len(text) <= most:
            raise Wrong(f"String should have 1 to {most} characters", "string_length")
        if "\0" in text:
            raise Wrong("String should not contain NUL characters", "string_nul")
        return text

    schema = {"type": "string", "minLength": 1, "maxLength": most, "pattern": NO_NUL}
    return Parameter(name, schema, description, read)


LIST: list[Parameter] = [
    _text("q", "Only those whose name or description has this in it, in any case"),
    _text("tag", "Only those with this tag", LONGEST_TAG),
    _text("name", "Only versions of this name"),
    choice("current", ("true", "false"), "Whether only the versions that names stand for are listed", "false"),
    choice("deleted", ("true", "false"), "Whether deleted versions are listed, too", "false"),
    _text("owner", "Whose: a user's id, or * for everybody's; administrators only"),
    integer("limit", "How many at most; without it all of them", least=1, cap=MOST_PAGE),
    free("cursor", "Where to go on: the Next-Cursor of the page before"),
]
DIFF: list[Parameter] = [
    integer("from", "The version that is compared with; the one before when it is left out", least=0),
    integer("to", "The version that is compared; that of the id when it is left out", least=0),
]


def definitions(request: Request) -> Definitions:
    """Return the definitions behind a request."""
    return application(request).definitions


async def create(request: Request) -> Response:
    """Save a definition, in JSON or YAML; it is on disk when the answer comes.

    All that is wrong with it is answered at once, each with its `path`, `code`, `message` and step.
    """
    read_query(request, ())
    actor = await caller(request)
    row = await definitions(request).create(actor, await _document(request))
    return Json(row.shown(), 201, {"Location": f"{PREFIX}/{row.id}"})


async def add_version(request: Request) -> Response:
    """Save another version of a workflow, for its owner; under another name it begins another workflow."""
    actor, workflow_id = await _addressed(request)
    read_query(request, ())
    row = await definitions(request).add_version(
        actor, workflow_id, await _document(request), expected(request, _shown)
    )
    return Json(row.shown(), 201, {"Location": f"{PREFIX}/{row.id}"})


async def listing(request: Request) -> Response:
    """List your workflows by name, the newest version of each first: all of them, or a page with `limit`.

    A page that another one follows has `Next-Cursor` and a `Link` to it.
    """
    actor, asked = await caller(request), read_query(request, LIST)
    query = _query(actor, asked)
    if asked["limit"] is None:
        pages = definitions(request).every(query)
        first: list[Row] = await anext(pages, [])
        return StreamingResponse(_array(first, pages), media_type="application/json")
    found = await definitions(request).page(query)
    rows, headers = found[: asked["limit"]], {}
    if len(found) > len(rows):
        cursor = _cursor(query, rows[-1])
        again = {name: value for name, value in asked.items() if value is not None and name != "cursor"}
        headers = {
            "Next-Cursor": cursor,
            "Link": f'<{PREFIX}?{urlencode({**again, "cursor": cursor})}>; rel="next"',
        }
    return Json([row.shown() for row in rows], headers=headers)


def _query(actor: Actor, asked: dict[str, Any]) -> ListQuery:
    owner: str | None = actor.user_id
    if asked["owner"] not in {None, actor.user_id}:
        if not actor.administers_workflows:
            raise Forbidden("Admin-only owner filter")
        owner = None if asked["owner"] == "*" else asked["owner"]
    query = ListQuery(
        actor.tenant_id,
        owner,
        asked["q"],
        asked["tag"],
        asked["name"],
        current=asked["current"] == "true",
        deleted=asked["deleted"] == "true",
        limit=(asked["limit"] or MOST_PAGE) + 1,
    )
    return query if asked["cursor"] is None else _resumed(query, asked["cursor"])


def _mark(query: ListQuery) -> str:
    told = [query.tenant_id, query.owner_id, query.q, query.tag, query.name, query.current, query.deleted]
    return hashlib.blake2b(orjson.dumps(told), digest_size=6).hexdigest()


def _cursor(query: ListQuery, last: Row) -> str:
    return pack([_mark(query), last.name, last.version])


def _resumed(query: ListQuery, cursor: str) -> ListQuery:
    message = "Input should be the cursor that a list with the same filters has answered"
    try:
        mark, after = unpack(cursor, _marked)
    except ValidationFailed:
        raise refused(message) from None
    if mark != _mark(query) or "\0" in after[0] or not 0 <= after[1] < 1 << 31:
        raise refused(message)
    return ListQuery(**{**{name: getattr(query, name) for name in query.__slots__}, "after": after})


def _marked(told: Any) -> tuple[Any, tuple[str, int]]:
    mark, name, version = told
    return mark, (str(name), int(version))


async def _array(first: list[Row], pages: AsyncIterator[list[Row]]) -> AsyncIterator[bytes]:
    yield b"[" + b",".join(orjson.dumps(row.shown()) for row in first)
    async for page in pages:
        yield b"," + b",".join(orjson.dumps(row.shown()) for row in page)
    yield b"]"


async def get(request: Request) -> Response:
    """Get a version with its definition as it was given, a deleted one too."""
    actor, workflow_id = await _addressed(request)
    read_query(request, ())
    return tagged(request, _shown(await definitions(request).get(actor, workflow_id)))


async def versions(request: Request) -> Response:
    """List the versions of a workflow, deleted ones too, newest first; `before` goes on below a version."""
    actor, workflow_id = await _addressed(request)
    asked = read_query(request, VERSIONS)
    found = await definitions(request).versions(actor, workflow_id, asked["before"])
    return Json([row.shown() for row in found])


VERSIONS: list[Parameter] = [integer("before", "Only versions below this one; at most 1000 are answered", least=0)]


async def version(request: Request) -> Response:
    """Get one version of a workflow with its definition."""
    actor, workflow_id = await _addressed(request)
    read_query(request, ())
    number = path_number(request, "version")
    if not 0 <= number < 1 << 31:
        number = -1
    return tagged(request, _shown(await definitions(request).version(actor, workflow_id, number)))


async def diff(request: Request) -> Response:
    """Compare two versions of a workflow: fields, steps added, removed and changed, and a unified diff."""
    actor, workflow_id = await _addressed(request)
    asked = read_query(request, DIFF)
    found = definitions(request)
    new = asked["to"]
    if new is None:
        new = (await found.get(actor, workflow_id)).row.version
    old = asked["from"]
    if old is None:
        below = await found.versions(actor, workflow_id, min(new, (1 << 31) - 1))
        old = below[0].version if below else new
    if max(old, new) >= 1 << 31:
        old = new = -1
    return Json(await found.diff(actor, workflow_id, old, new))


async def activate(request: Request) -> Response:
    """Make a version the one that its workflow's name stands for."""
    actor, workflow_id = await _addressed(request)
    read_query(request, ())
    return Json((await definitions(request).activate(actor, workflow_id, expected(request, _shown))).shown())


async def rollback(request: Request) -> Response:
    """Make the version current again that was so before; repeated, it goes further back."""
    actor, workflow_id = await _addressed(request)
    read_query(request, ())
    return Json((await definitions(request).rollback(actor, workflow_id, expected(request, _shown))).shown())


async def delete(request: Request) -> Response:
    """Delete a version: it leaves lists and its name, and can still be read and run by its id."""
    actor, workflow_id = await _addressed(request)
    read_query(request, ())
    await definitions(request).delete(actor, workflow_id, expected(request, _shown))
    return Json({"ok": True})


async def preflight(request: Request) -> Response:
    """Look at a draft: everything that is wrong with it, and steps that are not safe to run again.

    With `validation_mode` `non-block` broken rules are warnings; what is no definition at all stays an error.
    """
    read_query(request, ())
    actor = await caller(request)
    body = an_object(await _document(request))
    issues = unknown(body, {"definition", "validation_mode"})
    if "definition" not in body:
        issues.append(Issue(("body", "definition"), "Field required", "missing"))
    mode = body.get("validation_mode", "block")
    if mode not in MODES:
        issues.append(Issue(("body", "validation_mode"), "Input should be 'block' or 'non-block'", "enum"))
    if issues:
        raise ValidationFailed(issues)
    return Json(definitions(request).preflight(actor, body["definition"], mode))


async def _document(request: Request) -> Any:
    """Return the value of a body in JSON or YAML.

    Raises:
        Invalid: it is said to be something else.
        ValidationFailed: it cannot be read.
    """
    yaml = is_yaml(request)
    return read_document(await request.body(), yaml=yaml)


async def _addressed(request: Request) -> tuple[Actor, int]:
    """Return who is calling, and which workflow is meant."""
    return await caller(request), path_number(request, "workflow_id")


def path_number(request: Request, name: str) -> int:
    """Return a number of the path; one that is out of any range is 0, which nothing has.

    Raises:
        ValidationFailed: it is none.
        HTTPException: 405: the path is that of another route, which does not take the method.
    """
    text = request.path_params[name]
    if not _NUMBER.fullmatch(text):
        if template_of(request.app, request.scope["path"]) != request.scope["route"].path:
            raise HTTPException(405)
        raise ValidationFailed([Issue(("path", name), "Input should be a valid integer", "int_parsing")])
    return int(text) if len(text) <= MOST_DIGITS else 0


def _shown(found: Stored) -> dict[str, Any]:
    row = found.row
    return {
        "id": row.id,
        "name": row.name,
        "version": row.version,
        "is_active": row.is_active,
        "is_current": row.is_current,
        "owner_id": row.owner_id,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "definition": found.document,
    }


def tagged(request: Request, content: object) -> Response:
    """Return an answer with its ETag, or 304 when the client has it already."""
    made = Json(content)
    tag = tag_of(content)
    known = [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers={"ETag": tag})
    made.headers["ETag"] = tag
    return made


def routes() -> list[DirectRoute]:
    """Return the routes of definitions; those of one workflow come last, for they would hide the others."""
    tag = "workflows"
    one: dict[str, Any] = {"tag": tag, "path_pattern": r"^-?\d{1,18}$"}
    saving = (400, 401, 403, 413, 422)
    reading = (401, 403, 404, 422)
    read = needs(RUNS_READ)
    shown: dict[int, Any] = {200: DefinitionAnswer, 304: UNCHANGED}
    return [
        route("POST", PREFIX, create, tag=tag, answers={201: WorkflowAnswer}, errors=saving, body=BODY,
              access=ANYBODY),
        route("GET", PREFIX, listing, tag=tag, answers={200: WorkflowsAnswer}, errors=(401, 403, 422), parameters=LIST,
              access=ANYBODY),
        route("POST", PREFIX + "/preflight", preflight, tag=tag, answers={200: PreflightAnswer}, errors=saving,
              body=PREFLIGHT_BODY, access=read),
        *discovery_routes(PREFIX),
        route("GET", ONE, get, **one, answers=shown, errors=reading, tagged=True, access=read),
        route("DELETE", ONE, delete, **one, answers={200: DeletedAnswer}, errors=(412, *reading), access=ANYBODY),
        route("GET", ONE + "/versions", versions, **one, answers={200: WorkflowsAnswer}, errors=reading,
              parameters=VERSIONS, access=read),
        route("POST", ONE + "/versions", add_version, **one, answers={201: WorkflowAnswer}, errors=(404, 412, *saving),
              body=BODY, access=ANYBODY),
        route("GET", ONE + "/versions/{version}", version, **one, answers=shown, errors=reading, tagged=True,
              access=read),
        route("GET", ONE + "/diff", diff, **one, answers={200: DiffAnswer}, errors=reading, parameters=DIFF,
              access=read),
        route("POST", ONE + "/activate", activate, **one, answers={200: WorkflowAnswer}, errors=(409, 412, *reading),
              access=ANYBODY),
        route("POST", ONE + "/rollback", rollback, **one, answers={200: WorkflowAnswer}, errors=(409, 412, *reading),
              access=ANYBODY),
    ]  # fmt: skip
