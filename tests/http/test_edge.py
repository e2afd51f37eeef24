"""What is true of every request: its id, its log lines, its envelope, its key."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import orjson
import pytest
from starlette.requests import Request
from starlette.responses import Response

from tests.support.apps import Served, serving
from windlass.http.middleware import GUARDED
from windlass.http.routing import DirectRoute, route
from windlass.kernel.errors import Unavailable

BODY = {"source": "api", "category": "test", "payload": {"priority": 1}}


@pytest.fixture
async def served(migrated_sqlite_url: str) -> AsyncIterator[Served]:
    """The started application."""
    async with serving(migrated_sqlite_url) as running:
        yield running


@pytest.fixture
async def guarded(migrated_sqlite_url: str) -> AsyncIterator[Served]:
    """The started application with an API key."""
    async with serving(migrated_sqlite_url, api_key="s3cret-key") as running:
        yield running


async def test_a_request_keeps_the_id_it_brings(served: Served) -> None:
    for path in ("/health", "/records", "/records/nope", "/nowhere", "/records?limit=0"):
        answer = await served.client.get(path, headers={"X-Request-ID": "my trace-1 ~"})

        assert answer.headers["x-request-id"] == "my trace-1 ~"
        if answer.status_code >= 400:
            assert answer.json()["request_id"] == "my trace-1 ~"
    assert {line["request_id"] for line in served.lines.events() if line["request_id"]} == {"my trace-1 ~"}


@pytest.mark.parametrize("given", [b"", b"x" * 129, "müller".encode(), b"tab\tbed", b"\x7f"])
async def test_a_bad_id_is_replaced(served: Served, given: bytes) -> None:
    answers = [await served.client.get("/version", headers={b"X-Request-ID": given}) for _ in range(2)]

    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == 2
    assert all(len(made) == 36 for made in ids)


async def test_every_request_is_logged_with_compact_lines(served: Served) -> None:
    await served.client.post("/records", json=BODY, headers={"X-Request-ID": "r1"})

    lines = [line for line in served.lines.raw if b'"request_id":"r1"' in line]
    start, end = (orjson.loads(line) for line in lines)
    assert [list(line)[:4] for line in (start, end)] == [["event", "level", "timestamp", "request_id"]] * 2
    assert (start["event"], start["method"], start["path"]) == ("request.start", "POST", "/records")
    assert (end["event"], end["method"], end["path"], end["status_code"]) == ("request.end", "POST", "/records", 201)
    assert end["duration_ms"] > 0
    assert all(line.count(b"\n") == 1 and line.endswith(b"}\n") and b'": ' not in line for line in served.lines.raw)


async def test_requests_of_candidates_are_logged_by_names_of_their_own(served: Served) -> None:
    for place in ("/candidates/boom", "/api/providers/boom"):
        served.app.router.routes.insert(0, route("GET", place, boom, tag="test", answers={200: {}}))
        answer = await served.client.get(place, headers={"X-Request-ID": "r3"})

        assert answer.status_code == 500
        start, failed, end = (line for line in served.lines.events() if line["request_id"] == "r3")
        assert [start["event"], failed["event"], end["event"]] == [
            "request_started", "request_failed", "request_completed"
        ]  # fmt: skip
        assert [one["level"] for one in (start, failed, end)] == ["info", "error", "info"]
        assert "ZeroDivisionError" in failed["exception"]
        assert (end["method"], end["path"], end["status_code"]) == ("GET", place, 500)
        assert end["process_time_ms"] > 0
        served.lines.raw.clear()


async def test_requests_are_silent_above_the_level_info(migrated_sqlite_url: str) -> None:
    async with serving(migrated_sqlite_url, log_level="WARNING") as served:
        await served.client.get("/version")
        await served.client.get("/records/nope")

        assert served.lines.events("request.end") == []


async def test_errors_are_logged_by_their_sort(guarded: Served) -> None:
    await guarded.client.get("/records/nope")
    await guarded.client.get("/nowhere")
    await guarded.client.get("/records?limit=0")
    await guarded.client.post("/records", json=BODY)

    [domain] = guarded.lines.events("domain.error")
    missing, locked = guarded.lines.events("http.error")
    [invalid] = guarded.lines.events("validation.error")
    assert domain["error"]["code"] == "NOT_FOUND"
    assert (missing["status_code"], missing["error"]["code"]) == (404, "NOT_FOUND")
    assert (locked["status_code"], locked["error"]["code"]) == (401, "UNAUTHORIZED")
    assert invalid["details"][0]["loc"] == ["query", "limit"]


async def boom(request: Request) -> Response:
    """Fail."""
    if request.query_params:
        raise Unavailable("the database is not available: connection to 10.0.0.7 refused", retry_after=2.2)
    raise ZeroDivisionError("secret detail")


async def test_a_fault_of_ours_tells_nothing(served: Served) -> None:
    served.app.router.routes.insert(0, route("GET", "/boom", boom, tag="test", answers={200: {}}))

    answer = await served.client.get("/boom", headers={"X-Request-ID": "r2"})

    assert answer.status_code == 500
    assert answer.json() == {
        "error": {"code": "INTERNAL_ERROR", "message": "Internal server error", "details": None},
        "request_id": "r2",
    }
    assert answer.headers["x-request-id"] == "r2"
    [line] = served.lines.events("unhandled exception")
    assert (line["request_id"], line["level"]) == ("r2", "error")
    assert "ZeroDivisionError: secret detail" in line["exception"]
    assert served.lines.events("request.end")[-1]["status_code"] == 500


async def test_an_absent_database_asks_for_patience(served: Served) -> None:
    served.app.router.routes.insert(0, route("GET", "/boom", boom, tag="test", answers={200: {}}))

    answer = await served.client.get("/boom?x")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
    assert answer.json()["error"] == {
        "code": "SERVICE_UNAVAILABLE",
        "message": "the database is not available",
        "details": None,
    }


@pytest.mark.parametrize(
    "method,path,status,code",
    [
        ("GET", "/nowhere", 404, "NOT_FOUND"),
        ("GET", "/records/", 404, "NOT_FOUND"),
        ("PUT", "/records", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/records/x", 405, "METHOD_NOT_ALLOWED"),
        ("OPTIONS", "/health", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/health?x=1", 422, "VALIDATION_ERROR"),
    ],
)
async def test_the_framework_answers_in_the_envelope_too(
    served: Served, method: str, path: str, status: int, code: str
) -> None:
    answer = await served.client.request(method, path)

    body = answer.json()
    assert (answer.status_code, body["error"]["code"]) == (status, code)
    assert body["request_id"] == answer.headers["x-request-id"]
    assert ("allow" in answer.headers) == (status == 405)


async def test_head_answers_like_get_without_a_body(served: Served) -> None:
    for path in ("/", "/health", "/records", "/records/nope", "/records/export", "/reports/summary", "/docs", "/runs"):
        got, head = await served.client.get(path), await served.client.head(path)

        assert (head.status_code, head.headers["content-type"]) == (got.status_code, got.headers["content-type"])
        assert head.content == b""
        assert len(head.headers["x-request-id"]) == 36
    refused = await served.client.head("/records/x/process")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert (await served.client.put("/health")).headers["allow"] == "GET, HEAD"
    assert served.lines.events("request.end")[0]["method"] == "GET"
    assert served.lines.events("request.end")[1]["method"] == "HEAD"
    assert (
        'windlass_http_requests_total{method="HEAD",route="/runs",status="200"} 1.0'
        in (await served.client.get("/metrics")).text
    )


async def test_writes_need_the_key_before_anything_is_looked_at(guarded: Served) -> None:
    writes = [
        "/records",
        "/records/bulk",
        "/records/process",
        "/records/nope/process",
        "/records/x/y",
        "/runs/x/cancel",
    ]
    for path in writes:
        missing = await guarded.client.post(path, content=b"{")
        wrong = await guarded.client.post(path, content=b"{", headers={"X-API-Key": "s3cret-kez"})

        assert (missing.status_code, wrong.status_code) == (401, 401)
        assert missing.json()["error"]["message"] == "API key required"
        assert wrong.json()["error"]["message"] == "Invalid API key"
        assert wrong.headers["www-authenticate"] == "ApiKey"
        assert missing.headers["x-request-id"] == missing.json()["request_id"]
    right = {"X-API-Key": "s3cret-key"}
    assert (await guarded.client.post("/records", json=BODY, headers=right)).status_code == 201
    assert (await guarded.client.delete("/records/x", headers=right)).status_code == 405
    assert (await guarded.client.post("/recordsets", json=BODY)).status_code == 404


async def test_reads_are_public(guarded: Served) -> None:
    for path in ("/records", "/reports/summary", "/runs", "/health", "/metrics"):
        assert (await guarded.client.get(path)).status_code == 200


async def test_writers_who_come_too_fast_are_told_to_wait(migrated_sqlite_url: str) -> None:
    async with serving(migrated_sqlite_url, commit_queue_limit=1) as served:
        answers: list[httpx2.Response] = []
        while {answer.status_code for answer in answers} < {201, 503}:  # the engine's own writes may come first
            answers += await asyncio.gather(*(served.client.post("/records", json=BODY) for _ in range(40)))

        statuses = [answer.status_code for answer in answers]
        refused = [answer for answer in answers if answer.status_code == 503]
        stored = (await served.client.get("/records")).json()["total"]
        assert set(statuses) == {201, 503}
        assert all(answer.headers["retry-after"] == "1" for answer in refused)
        assert stored == statuses.count(201)


async def test_the_openapi_document_describes_what_is_served(guarded: Served) -> None:
    document: dict[str, Any] = (await guarded.client.get("/openapi.json")).json()

    operations = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert ("POST", "/records/{record_id}/process") in operations
    routes = guarded.app.router.routes
    served = [route for route in routes if isinstance(route, DirectRoute) and route.include_in_schema]
    assert operations == {(method, route.path_format) for route in served for method in route.methods or ()}
    tagged: set[str] = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert "503" in operation["responses"]
            if path.startswith(GUARDED):
                assert ("security" in operation) == (method != "get"), path
            headers = {part["name"] for part in operation.get("parameters", ()) if part["in"] == "header"}
            assert ("If-Match" in headers) == ("412" in operation["responses"]), path
            assert ("If-None-Match" in headers) == ("304" in operation["responses"]), path
            tagged |= {path for answer in operation["responses"].values() if "ETag" in answer.get("headers", {})}
    one = "/api/v1/workflows/{workflow_id}"
    candidates = {f"/candidates{rest}" for rest in ("", "/{candidate_id}", "/{candidate_id}/review")}
    assert tagged == {one, one + "/versions/{version}", "/api/v1/scheduler/workflows/{schedule_id}"} | candidates
