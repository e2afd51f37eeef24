"""Routes of artifacts: the files of runs, streamed in and out."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from windlass.contexts.artifacts.api import (
    ANY_MIME,
    FILE,
    NAME_LENGTH,
    TYPE_LENGTH,
    Artifact,
    Artifacts,
    File,
    MimeRefused,
)
from windlass.http.access import needs
from windlass.http.bodies import read_object, unknown
from windlass.http.callers import caller
from windlass.http.errors import envelope
from windlass.http.query import Parameter, choice, free, read_query
from windlass.http.ranges import Part, Unsatisfiable, asked_part, attachment, unchanged
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, application, refusal, route
from windlass.http.schemas import Shape
from windlass.http.uploads import read_upload
from windlass.kernel.actors import RUNS_CONTROL, RUNS_READ, Actor
from windlass.kernel.errors import Issue, TooLarge, ValidationFailed

PREFIX = "/api/v1/workflows"
UPLOADS = rf"{PREFIX}/runs/[^/]+/artifacts"
"""Paths whose bodies are streamed into files."""
MARGIN = 64 * 1024
"""What a form may be larger than its file."""
VERIFIED = 1000
"""How many artifacts one request may ask to verify."""
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_NAMED: list[Parameter] = [
    free("name", "The file name; a form may say it itself", {"type": "string", "maxLength": NAME_LENGTH}),
    free("type", f"What the file is to the run; {FILE} by default", {"type": "string", "maxLength": TYPE_LENGTH}),
]
_VERIFY = choice("verify", ["true", "false"], "Whether the files are hashed and compared", "false")
_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
VERIFY_BODY: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["items"],
    "properties": {
        "items": {
            "type": "array",
            "maxItems": VERIFIED,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["artifact_id"],
                "properties": {
                    "artifact_id": {"type": "string"},
                    "expected_sha256": {
                        "anyOf": [{"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}, {"type": "null"}]
                    },
                },
            },
        }
    },
}


class ArtifactAnswer(Shape):
    """An artifact; ``uri`` is the address of its file on the server."""

    artifact_id: str
    type: str
    uri: str
    size_bytes: int | None
    mime_type: str | None
    checksum_sha256: str | None
    metadata: dict[str, Any]
    created_at: str
    step_run_id: str | None


class ManifestAnswer(Shape):
    """The artifacts of a run, with ``integrity`` each when they were verified."""

    artifacts: list[dict[str, Any]]
    integrity_summary: dict[str, int] | None = None


class VerifiedAnswer(Shape):
    """What became of each artifact that was asked for."""

    results: list[dict[str, Any]]


Handler = Callable[[Request], Awaitable[Response]]
Answers = dict[int, type[BaseModel] | dict[str, Any]]


async def listing(request: Request) -> Response:
    """List the artifacts of a run, oldest first."""
    read_query(request, ())
    artifacts, actor = await _asked(request, RUNS_READ)
    found = await artifacts.list(request.path_params["run_id"], actor)
    return StreamingResponse(_array(artifacts, found), media_type="application/json")


async def _array(artifacts: Artifacts, found: AsyncIterator[Artifact]) -> AsyncIterator[bytes]:
    before = b"["
    async for artifact in found:
        yield before + orjson.dumps(artifacts.shown(artifact))
        before = b","
    yield b"[]" if before == b"[" else b"]"


async def manifest(request: Request) -> Response:
    """List the artifacts of a run and, with `verify=true`, whether each file is what was stored."""
    verify = read_query(request, [_VERIFY])["verify"] == "true"
    artifacts, actor = await _asked(request, RUNS_READ)
    found = await artifacts.manifest(request.path_params["run_id"], verify=verify, actor=actor)

    async def told() -> AsyncIterator[bytes]:
        before, wrong = b'{"artifacts":[', 0
        async for artifact, integrity in found:
            entry = artifacts.shown(artifact)
            del entry["step_run_id"]
            if integrity is not None:
                entry["integrity"] = integrity
                wrong += not integrity["ok"]
            yield before + orjson.dumps(entry)
            before = b","
        yield b"]" if before == b"," else before + b"]"
        yield b',"integrity_summary":{"mismatch_count":%d}}' % wrong if verify else b"}"

    return StreamingResponse(told(), media_type="application/json")


async def verify_batch(request: Request) -> Response:
    """Hash some files of a run and compare them with what is expected, or with what was recorded."""
    read_query(request, ())
    artifacts, actor = await _asked(request, RUNS_READ)
    items = read_items(await request.body())
    return Json({"results": await artifacts.verify_batch(request.path_params["run_id"], items, actor)})


def read_items(raw: bytes) -> list[tuple[str, str | None]]:
    """Return which artifacts are to be verified, each with the hash expected.

    Raises:
        ValidationFailed: a field is unknown, missing or wrong; names each.
    """
    value = read_object(raw)
    issues = unknown(value, ("items",))
    items = value.get("items")
    if not isinstance(items, list) or len(items) > VERIFIED:
        issues.append(Issue(("body", "items"), f"Input should be a list of at most {VERIFIED} items", "list_type"))
        raise ValidationFailed(issues)
    for place, item in enumerate(items):
        issues += _item_issues(item, ("body", "items", place))
    if issues:
        raise ValidationFailed(issues)
    return [(item["artifact_id"], item.get("expected_sha256")) for item in items]


def _item_issues(item: Any, loc: tuple[str | int, ...]) -> list[Issue]:
    if not isinstance(item, dict):
        return [Issue(loc, "Input should be an object", "object_type")]
    known = {"artifact_id", "expected_sha256"}
    issues = unknown(item, known, loc)
    if not isinstance(item.get("artifact_id"), str):
        issues.append(Issue((*loc, "artifact_id"), "Input should be a string", "string_type"))
    expected = item.get("expected_sha256")
    if expected is not None and not (isinstance(expected, str) and _SHA256.fullmatch(expected)):
        issues.append(Issue((*loc, "expected_sha256"), "Input should be 64 hexadecimal digits", "sha256"))
    return issues


async def upload(request: Request) -> Response:
    """Store a file of a run; it is on disk when the answer comes.

    The body is the file, or a multipart form with one field `file`; both are streamed. Sending the same content under
    the same name again answers the same artifact with 200.
    """
    asked = read_query(request, _NAMED)
    artifacts, actor = await _asked(request, RUNS_CONTROL)
    try:
        file = await read_upload(request)
        name = asked["name"] or file.name
        if name is None:
            raise ValidationFailed([Issue(("query", "name"), "Field required", "missing")])
        saved = await artifacts.put(
            request.path_params["run_id"], name, file.pieces, mime=file.mime or ANY_MIME, type=asked["type"] or FILE,
            actor=actor,
        )  # fmt: skip
    except ClientDisconnect:
        return Response(status_code=499)
    shown = artifacts.shown(saved.artifact)
    _debug(request, "stored", shown["artifact_id"], uri=shown["uri"], created=saved.created)
    headers = {"Location": f"{PREFIX}/artifacts/{shown['artifact_id']}/download"}
    return Json(shown, 201 if saved.created else 200, headers)


async def download(request: Request) -> Response:
    """Download an artifact, or a part of it."""
    read_query(request, ())
    artifacts, actor = await _asked(request, RUNS_READ)
    file = await artifacts.open(request.path_params["artifact_id"], actor)
    try:
        answer = _file(request, file, artifacts.limits.max_download)
    except BaseException:
        file.opened.close()
        raise
    ranged = request.headers.get("range")
    _debug(request, "download", file.artifact.artifact_id, uri=artifacts.shown(file.artifact)["uri"], range=ranged)
    if not isinstance(answer, StreamingResponse):
        file.opened.close()
    return answer


def _file(request: Request, file: File, most: int) -> Response:
    artifact, size = file.artifact, file.opened.size
    etag = None if artifact.checksum_sha256 is None else f'"{artifact.checksum_sha256}"'
    headers = {"Accept-Ranges": "bytes"} | ({} if etag is None else {"ETag": etag})
    if unchanged(request, etag):
        return Response(status_code=304, headers=headers)
    try:
        part = asked_part(request, size, etag)
    except Unsatisfiable:
        headers["Content-Range"] = f"bytes */{size}"
        path = request.scope["path"]
        return envelope(path, 416, "RANGE_NOT_SATISFIABLE", "Invalid Range header", headers=headers)
    start, length = part or Part(0, size)
    if length > most:
        raise TooLarge(f"the answer would have {length} bytes; ask for at most {most} with Range", limit=most)
    headers |= {
        "Content-Type": artifact.mime_type or ANY_MIME,
        "Content-Length": str(length),
        "Content-Disposition": attachment(artifact.name),
        "X-Content-Type-Options": "nosniff",
    }
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{size}"
    return StreamingResponse(_read(file, start, length), 200 if part is None else 206, headers)


async def _read(file: File, start: int, length: int) -> AsyncIterator[bytes]:
    try:
        async for block in file.opened.chunks(start, length):
            yield block
    finally:
        file.opened.close()


async def bulk(request: Request) -> Response:
    """Download the files of a run as one zip archive, made while it is sent."""
    read_query(request, ())
    artifacts, actor = await _asked(request, RUNS_READ)
    run_id = request.path_params["run_id"]
    archive = await artifacts.zip(run_id, actor)
    headers = {"Content-Disposition": attachment(f"artifacts_{run_id}.zip")}
    return StreamingResponse(archive, media_type="application/zip", headers=headers)


async def _asked(request: Request, permission: str) -> tuple[Artifacts, Actor]:
    actor = await caller(request)
    actor.require(permission)
    return application(request).artifacts, actor


def _debug(request: Request, call: str, artifact_id: str, **fields: Any) -> None:
    if application(request).settings.workflows_artifacts_debug:
        request.app.state.log.events.info("artifacts.debug", call=call, artifact_id=artifact_id, **fields)


def _typed(handler: Handler) -> Handler:
    """Answer 415 where a media type is refused."""

    async def typed(request: Request) -> Response:
        try:
            return await handler(request)
        except MimeRefused as error:
            return envelope(request.scope["path"], 415, error.code, error.message)

    typed.__name__, typed.__doc__ = handler.__name__, handler.__doc__
    return typed


def routes() -> list[DirectRoute]:
    """Return the routes of artifacts."""
    tag, of_run = "artifacts", f"{PREFIX}/runs/{{run_id}}/artifacts"
    refused: Answers = {415: refusal(PREFIX, "Files of this media type do not come in or go out")}
    beyond: Answers = {416: refusal(PREFIX, "The Range cannot be read, or the file does not have it")}
    sent: Answers = {
        200: {"description": "The file", "content": {"*/*": _BINARY}},
        206: {"description": "A part", "content": {"*/*": _BINARY}},
        304: {"description": "The client has it"},
    }
    stored: Answers = {200: ArtifactAnswer, 201: ArtifactAnswer}
    form = {"type": "object", "required": ["file"], "properties": {"file": _BINARY["schema"]}}
    body = {"*/*": _BINARY, "multipart/form-data": {"schema": form | {"additionalProperties": False}}}
    read, control = needs(RUNS_READ), needs(RUNS_CONTROL)
    return [
        route("GET", of_run, listing, tag=tag, answers={200: {"model": list[ArtifactAnswer]}},
              errors=(401, 403, 404, 422), access=read),
        *(
            route(method, of_run, _typed(upload), tag=tag,
                  answers=stored | refused,
                  errors=(400, 401, 403, 404, 413, 422), parameters=_NAMED, body=body, access=control)
            for method in ("POST", "PUT")
        ),
        route("GET", f"{of_run}/manifest", manifest, tag=tag, answers={200: ManifestAnswer},
              errors=(401, 403, 404, 422), parameters=[_VERIFY], access=read),
        route("POST", f"{of_run}/verify-batch", verify_batch, tag=tag, answers={200: VerifiedAnswer},
              errors=(401, 403, 404, 413, 422), body={"application/json": {"schema": VERIFY_BODY}}, access=read),
        route("GET", f"{of_run}/download", bulk, tag=tag,
              answers={200: {"description": "A zip archive", "content": {"application/zip": _BINARY}}},
              errors=(401, 403, 404, 409, 413, 422), access=read),
        route("GET", f"{PREFIX}/artifacts/{{artifact_id}}/download", _typed(download), tag=tag,
              answers=sent | beyond | refused,
              errors=(400, 401, 403, 404, 409, 413, 422), access=read),
    ]  # fmt: skip
