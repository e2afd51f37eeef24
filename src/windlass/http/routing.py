"""Routes whose handlers get the request and give the answer themselves; the OpenAPI document describes them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Container, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import request_response

from windlass.bootstrap import Application
from windlass.http.access import ANYBODY, GUARDED, NOBODY, Access
from windlass.http.query import NO_NUL, Parameter
from windlass.http.responses import DETAILED
from windlass.http.schemas import DetailAnswer, ErrorAnswer
from windlass.kernel.errors import Invalid, Issue, ValidationFailed

Handler = Callable[[Request], Awaitable[Response]]

_EXACT = float(1 << 53)
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")
_JSON = re.compile(rb"\s*(application/([\w.!#$&^-]+\+)?json\s*(;|$)|$)", re.IGNORECASE)
_YAML = re.compile(rb"\s*(application|text)/(x-)?yaml\s*(;|$)", re.IGNORECASE)
_OF_JSON = frozenset({b"content-type", b"content-encoding", b"idempotency-key"})
_PLAIN = [(b"content-type", b"application/json")]
_PATH_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")
_MEANINGS = {
    400: "A date or header cannot be read, or the request contradicts itself",
    401: "The credential is missing or wrong",
    403: "The caller may not do this",
    404: "Not there",
    409: "Its state does not allow it, or the Idempotency-Key was used with another request",
    412: "It was changed since it was read (`If-Match`); nothing was done",
    413: "Too large",
    422: "A field or parameter is wrong; `details` names each",
    429: "Too often; try again after `Retry-After` seconds",
    502: "The billing service refuses or does not answer; nothing has changed",
    504: "The run has not ended in time; it goes on",
    503: "The database is away or has fallen behind; try again after `Retry-After` seconds",
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "description": "Repeating a request under the same key repeats its answer and nothing else",
}


def _tags(name: str, words: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": words}


IF_MATCH = _tags("If-Match", "ETags, with commas between them, or `*`: nothing is done to what is as none of them says")
IF_NONE_MATCH = _tags("If-None-Match", "ETags, with commas between them: what is as one of them says is not sent again")
ETAG = {"ETag": {"schema": {"type": "string"}, "description": "Of what is shown; for `If-Match` and `If-None-Match`"}}
UNCHANGED: dict[str, Any] = {"description": "It is as an ETag of `If-None-Match` says", "headers": ETAG}
"""The answer of a route that heeds ``If-None-Match``, as its 304."""

_COMPONENT = "#/components/schemas/"
ENVELOPES: dict[str, Any] = models_json_schema(
    [(ErrorAnswer, "serialization"), (DetailAnswer, "serialization")], ref_template=_COMPONENT + "{model}"
)[1]["$defs"]
"""The schemas of the envelopes of errors, for the document's components."""


class DirectRoute(APIRoute):
    """A route that calls its handler without looking for parameters and dependencies first.

    Below ``/api/v1/`` it first makes sure that the caller has what ``access`` asks for; ``declared`` says that somebody
    has said what that is.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], *, access: Access | None = None, **kwargs: Any) -> None:
        super().__init__(path, endpoint, **kwargs)
        self.declared = access is not None
        self.access = access or (ANYBODY if path.startswith(GUARDED) else NOBODY)
        self.app = request_response(endpoint if self.access.public else _guarded(endpoint, self.access))
        self.begins = path.partition("{")[0]


def _guarded(handler: Handler, access: Access) -> Handler:
    async def admitted(request: Request) -> Response:
        await request.app.state.admit(request, access)
        return await handler(request)

    return admitted


def route(  # noqa: PLR0913  the words of an operation
    method: str,
    path: str,
    handler: Handler,
    *,
    tag: str,
    answers: dict[int, type[BaseModel] | dict[str, Any]],
    errors: Sequence[int] = (),
    parameters: Sequence[Parameter] = (),
    body: dict[str, Any] | None = None,
    body_required: bool = True,
    path_pattern: str = NO_NUL,
    keyed: bool = False,
    tagged: bool = False,
    access: Access | None = None,
) -> DirectRoute:
    """Return a route and its description.

    Args:
        method: the HTTP method.
        path: its template.
        handler: gets the request and returns the answer; its docstring is the description.
        tag: the part of the API.
        answers: what it answers by status: a model, or a part of an OpenAPI response.
        errors: the statuses of the envelopes it may answer.
        parameters: its query parameters.
        body: the media types of its body.
        body_required: whether there must be one.
        path_pattern: what the parameters in the path match.
        keyed: whether it takes an Idempotency-Key; what may answer 412 or 304 takes ``If-Match`` or ``If-None-Match``.
        tagged: whether what it shows has an ETag.
        access: what it asks of its caller; everything below ``/api/v1/`` says it.
    """
    described: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": path_pattern}}
        for name in _PATH_PARAMETER.findall(path)
    ]
    described += [parameter.described() for parameter in parameters]
    described += _headers(keyed=keyed, statuses={*errors, *answers})
    extra: dict[str, Any] = {"parameters": described} if described else {}
    if body is not None:
        extra["requestBody"] = {"required": body_required, "content": body}
    responses = _answers(answers, tagged=tagged) | _refusals(path, errors, access or ANYBODY)
    summary, _, description = (handler.__doc__ or "").strip().partition("\n")
    return DirectRoute(
        path,
        handler,
        methods=[method],
        tags=[tag],
        summary=summary.rstrip("."),
        description=description.strip(),
        status_code=min(answers),
        response_class=Response,
        responses=responses,
        openapi_extra=extra,
        response_model=None,
        access=access,
    )


def _answers(answers: dict[int, type[BaseModel] | dict[str, Any]], *, tagged: bool) -> dict[int | str, dict[str, Any]]:
    found: dict[int | str, dict[str, Any]] = {
        status: {"model": answer} if isinstance(answer, type) else answer for status, answer in answers.items()
    }
    if tagged:
        found[min(answers)] = {**found[min(answers)], "headers": ETAG}
    return found


def _headers(*, keyed: bool, statuses: Container[int]) -> list[dict[str, Any]]:
    told = ((IDEMPOTENCY_KEY, keyed), (IF_MATCH, 412 in statuses), (IF_NONE_MATCH, 304 in statuses))
    return [header for header, heeded in told if heeded]


def _refusals(path: str, errors: Sequence[int], access: Access) -> dict[int | str, dict[str, Any]]:
    """Return the answers of errors, those that every caller of a guarded route may get included."""
    refused = {401, 403} if path.startswith(GUARDED) and not access.public else set()
    return {status: refusal(path, _MEANINGS[status]) for status in sorted({*errors, *refused, 503})}


def refusal(path: str, meaning: str) -> dict[str, Any]:
    """Return the answer of an error as a part of the OpenAPI document, its envelope by name.

    FastAPI would make a validator of a model for each status of each route: five hundred of them when a server starts.
    """
    envelope = DetailAnswer if path.startswith(DETAILED) else ErrorAnswer
    return {
        "description": meaning,
        "content": {"application/json": {"schema": {"$ref": _COMPONENT + envelope.__name__}}},
    }


def application(request: Request) -> Application:
    """Return the running application behind a request."""
    found: Application = request.app.state.application
    return found


def template_of(app: FastAPI, path: str) -> str | None:
    """Return the template that a path is one of, whatever the method: of several the one that says most of it."""
    routes = (route for route in app.router.routes if isinstance(route, APIRoute))
    fitting = (route.path for route in routes if route.path_regex.match(path))
    return min(fitting, key=lambda template: template.count("{"), default=None)


def methods_of(app: FastAPI, path: str) -> list[str]:
    """Return what can be asked of the resource at a path."""
    template = template_of(app, path)
    routes = [route for route in app.router.routes if isinstance(route, APIRoute)]
    found = {method for route in routes if route.path == template for method in route.methods or ()}
    return sorted(found | {"HEAD"} if "GET" in found else found)


def whole(value: object) -> int | None:
    """Return a JSON number without a fraction as an integer, anything else as None."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value if type(value) is int else None


def idempotency_key(request: Request) -> str | None:
    """Return the request's Idempotency-Key.

    Raises:
        ValidationFailed: it is not 1 to 255 visible ASCII characters, or there are two.
    """
    return _one_key([value for name, value in request.scope["headers"] if name == b"idempotency-key"])


def json_headers(request: Request) -> str | None:
    """Return the Idempotency-Key of a request whose headers say nothing but JSON.

    Raises:
        Invalid: its Content-Type or Content-Encoding is another one.
        ValidationFailed: see ``idempotency_key``.
    """
    told = [header for header in request.scope["headers"] if header[0] in _OF_JSON]
    if told == _PLAIN:
        return None
    _is_yaml(told, "is no JSON; send Content-Type: application/json")
    return _one_key([value for name, value in told if name == b"idempotency-key"])


def is_yaml(request: Request) -> bool:
    """Say whether a body that may be JSON or YAML is YAML.

    Raises:
        Invalid: its Content-Type or Content-Encoding is another one.
    """
    wanted = "is neither JSON nor YAML; send application/json or application/yaml"
    return _is_yaml(request.scope["headers"], wanted, allowed=True)


def _is_yaml(headers: Sequence[tuple[bytes, bytes]], wanted: str, *, allowed: bool = False) -> bool:
    yaml = False
    for name, value in headers:
        if name == b"content-type":
            yaml = allowed and _YAML.match(value) is not None
            if not yaml and not _JSON.match(value):
                raise Invalid(f"Content-Type: {_shown(value)} {wanted}", field="Content-Type")
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise Invalid(f"Content-Encoding: {_shown(value)} is not read; send it plainly", field="Content-Encoding")
    return yaml


def _shown(value: bytes) -> str:
    return value.decode("latin-1")[:200]


def _one_key(given: Sequence[bytes]) -> str | None:
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        message = "Input should be one key of 1 to 255 visible ASCII characters"
        raise ValidationFailed([Issue(("header", "Idempotency-Key"), message, "header_invalid")])
    key: str = given[0].decode()
    return key
