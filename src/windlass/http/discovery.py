"""Routes that tell what definitions can be made of: step types, the format, templates."""

from __future__ import annotations

from typing import Any

from pydantic import RootModel
from starlette.requests import Request
from starlette.responses import Response

from windlass.contexts.workflows.api import search, tags, template_text
from windlass.http.access import ANYBODY
from windlass.http.callers import caller
from windlass.http.definition_answers import ChunkersAnswer, StepTypeAnswer, TemplatesAnswer
from windlass.http.query import Parameter, free, read_query
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, application, route

TEMPLATES: list[Parameter] = [
    free("q", "Only templates with this in their name, title or tags, in any case"),
    free("tag", "Only templates with this tag"),
]


class StepTypesAnswer(RootModel[list[StepTypeAnswer]]):
    """The step types."""


class TagsAnswer(RootModel[list[str]]):
    """Tags, in order."""


async def step_types(request: Request) -> Response:
    """List the step types: what each does, the JSON Schema of its config, and what may be done again with it."""
    read_query(request, ())
    await caller(request)
    return Json(application(request).definitions.step_types())


async def schema(request: Request) -> Response:
    """Get the JSON Schema of a definition with every step type, for editors."""
    read_query(request, ())
    await caller(request)
    return Json(application(request).definitions.schema())


async def chunkers(request: Request) -> Response:
    """Say how texts can be cut; there is no method yet."""
    read_query(request, ())
    await caller(request)
    parameters = {"type": "object", "properties": {}, "additionalProperties": False}
    return Json(
        {"name": "core_chunking", "version": "1.0.0", "methods": [], "defaults": {}, "parameter_schema": parameters}
    )


async def templates(request: Request) -> Response:
    """List the templates that come with Windlass."""
    asked = read_query(request, TEMPLATES)
    await caller(request)
    return Json([template.shown() for template in search(asked["q"], asked["tag"])])


async def template_tags(request: Request) -> Response:
    """List the tags of the templates."""
    read_query(request, ())
    await caller(request)
    return Json(tags())


async def template(request: Request) -> Response:
    """Get a template: a definition to begin with."""
    read_query(request, ())
    await caller(request)
    return Response(template_text(request.path_params["name"]), media_type="application/json")


async def template_by_name(request: Request) -> Response:
    """Get a template, by its older address."""
    return await template(request)


def discovery_routes(prefix: str) -> list[DirectRoute]:
    """Return the routes below ``prefix``."""
    tag = "workflows"
    document: dict[str, Any] = {
        "description": "A JSON object",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
    open_errors = (401, 422)
    named = (400, 401, 404, 413, 422)
    known: dict[str, Any] = {"tag": tag, "access": ANYBODY}
    return [
        route("GET", f"{prefix}/step-types", step_types, **known, answers={200: StepTypesAnswer}, errors=open_errors),
        route("GET", f"{prefix}/schema", schema, **known, answers={200: document}, errors=open_errors),
        route("GET", f"{prefix}/options/chunkers", chunkers, **known, answers={200: ChunkersAnswer},
              errors=open_errors),
        route("GET", f"{prefix}/templates", templates, **known, answers={200: TemplatesAnswer}, errors=open_errors,
              parameters=TEMPLATES),
        route("GET", f"{prefix}/templates/tags", template_tags, **known, answers={200: TagsAnswer},
              errors=open_errors),
        route("GET", f"{prefix}/templates/_byname/{{name:path}}", template_by_name, **known, answers={200: document},
              errors=named),
        route("GET", f"{prefix}/templates/{{name:path}}", template, **known, answers={200: document}, errors=named),
    ]  # fmt: skip
