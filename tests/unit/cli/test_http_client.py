"""The HTTP client: what it asks, and what it makes of every answer."""

from collections.abc import Callable
from typing import Any

import httpx2
import orjson
import pytest

from tests.support.ports import free_port
from windlass.cli.client.http import HttpClient, open_http, segment
from windlass.cli.client.live import HttpLive
from windlass.cli.client.protocol import Fault, RecordFilter, RunQuery, Stored
from windlass.cli.exits import CommandError
from windlass.kernel.errors import Kind, Unavailable, WindlassError

Handler = Callable[[httpx2.Request], httpx2.Response]


def talking_to(handler: Handler) -> HttpClient:
    client = httpx2.AsyncClient(base_url="http://server", transport=httpx2.MockTransport(handler))
    return HttpClient(client, "http://server")


def answering(status: int, body: object, headers: dict[str, str] | None = None) -> HttpClient:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return talking_to(lambda _request: httpx2.Response(status, content=content, headers=headers))


def envelope(code: str, message: str, details: object = None) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "details": details}, "request_id": "r"}


async def test_a_batch_is_stored_under_its_key() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        assert (request.method, request.url.path, request.url.params["results"]) == ("POST", "/records/bulk", "failed")
        assert request.headers["idempotency-key"] == "k"
        assert request.content == b"{}\n"
        missing = {"loc": ["body", 2, "source"], "msg": "Field required", "type": "missing"}
        large = {
            "line": 3,
            "error": {"code": "PAYLOAD_TOO_LARGE", "message": "too large", "details": {"field": "payload"}},
        }
        several = [
            {"loc": ["body", 5], "msg": "odd", "type": "x"},
            {"loc": ["body", 5, "a", 0], "msg": "bad", "type": "x"},
        ]
        whole = {"line": 4, "error": {"code": "X", "message": "broken", "details": None}}
        results = [
            {"line": 2, "error": {"code": "V", "message": "Validation failed", "details": [missing]}},
            large,
            whole,
            {"line": 5, "error": {"code": "V", "message": "Validation failed", "details": several}},
        ]
        return httpx2.Response(200, json={"created": 1, "repeated": 1, "failed": 4, "results": results})

    assert await talking_to(handler).store(b"{}\n", "k") == Stored(
        1,
        1,
        [
            Fault(2, "source", "Field required"),
            Fault(3, "payload", "too large"),
            Fault(4, None, "broken"),
            Fault(5, None, "odd; a.0: bad"),
        ],
    )


async def test_only_what_was_said_is_asked() -> None:
    asked: list[Any] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        asked.append(orjson.loads(request.content))
        return httpx2.Response(202, json={"run_id": "r", "matched": 0})

    await talking_to(handler).process_many(RecordFilter("pending"), None)
    await talking_to(handler).process_many(RecordFilter("failed", category="c"), 3)

    assert asked == [{"status": "pending"}, {"status": "failed", "category": "c", "limit": 3}]


async def test_long_lists_are_fetched_page_by_page() -> None:
    asked: list[dict[str, str]] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        asked.append(dict(request.url.params))
        many = int(request.url.params["limit"])
        return httpx2.Response(200, json={"items": [{}] * many, "count": many, "next_cursor": f"c{len(asked)}"})

    found = await talking_to(handler).list_runs(RunQuery(status="failed", limit=450))

    assert len(found) == 450
    assert asked == [
        {"status": "failed", "limit": "200"},
        {"status": "failed", "limit": "200", "cursor": "c1"},
        {"status": "failed", "limit": "50", "cursor": "c2"},
    ]


@pytest.mark.parametrize(
    "status,kind",
    [
        (400, Kind.INVALID),
        (401, Kind.UNAUTHORIZED),
        (404, Kind.NOT_FOUND),
        (409, Kind.CONFLICT),
        (413, Kind.TOO_LARGE),
        (422, Kind.VALIDATION),
        (500, Kind.INTERNAL),
    ],
)
async def test_an_error_keeps_its_kind_and_words(status: int, kind: Kind) -> None:
    with pytest.raises(WindlassError, match="in its words") as caught:
        await answering(status, envelope("CODE", "in its words")).get_run("r")

    assert caught.value.kind is kind
    assert caught.value.code == ("PAYLOAD_TOO_LARGE" if status == 413 else "CODE")


async def test_a_refused_field_is_named() -> None:
    details = [{"loc": ["query", "limit"], "msg": "Input should be a valid integer", "type": "int_parsing"}]

    with pytest.raises(WindlassError, match="limit: Input should be a valid integer"):
        await answering(422, envelope("VALIDATION_ERROR", "Validation failed", details)).list_runs(RunQuery())


@pytest.mark.parametrize("body", [envelope("SERVICE_UNAVAILABLE", "behind"), b"<html>bad gateway</html>"])
@pytest.mark.parametrize("status", [502, 503, 429])
async def test_a_server_that_is_behind_is_unavailable(status: int, body: object) -> None:
    with pytest.raises(Unavailable) as caught:
        await answering(status, body, {"Retry-After": "7"}).store(b"", "k")

    assert caught.value.retry_after == 7


@pytest.mark.parametrize("status,body", [(200, b"<html>"), (200, []), (404, b"not here"), (404, {"detail": "x"})])
async def test_another_server_is_recognised(status: int, body: object) -> None:
    with pytest.raises(WindlassError, match=f"http://server answered {status}, but not as a Windlass server does"):
        await answering(status, body).get_run("r")


async def test_no_answer_is_unavailable() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("connection refused", request=request)

    with pytest.raises(Unavailable, match=r"no answer from http://server: connection refused; start a server"):
        await talking_to(handler).get_run("r")
    with pytest.raises(Unavailable, match="no answer"):
        await anext(talking_to(handler).export(RecordFilter(), "csv"))


async def test_an_export_that_is_refused_says_why() -> None:
    with pytest.raises(WindlassError, match="invalid datetime: x"):
        await anext(answering(400, envelope("BAD_REQUEST", "invalid datetime: x")).export(RecordFilter(), "csv"))


async def test_ids_stay_one_part_of_the_path() -> None:
    paths: list[str] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        paths.append(request.url.raw_path.decode())
        return httpx2.Response(404, json=envelope("NOT_FOUND", "run not found"))

    for run_id in ("a/../b", "a?b#c", "ü"):
        with pytest.raises(WindlassError, match="not found"):
            await talking_to(handler).get_run(run_id)

    assert paths == ["/runs/a%2F..%2Fb", "/runs/a%3Fb%23c", "/runs/%C3%BC"]
    assert segment("") == "%20"


async def test_the_key_goes_along_and_the_address_must_be_one() -> None:
    async with open_http("http://server/", "k3y") as client:
        assert client.name == "http://server"
        assert client._client.headers["x-api-key"] == "k3y"

    with pytest.raises(CommandError, match="--url server:8000 is no address"):
        async with open_http("server:8000", None):
            raise AssertionError("it was opened")


async def test_what_the_system_said_is_told() -> None:
    async with open_http(f"http://127.0.0.1:{free_port()}", None) as client:
        with pytest.raises(Unavailable, match="Connection refused; start a server"):
            await client.get_record("x")


async def test_people_decide_where_their_question_is() -> None:
    asked: list[tuple[str, str, Any]] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        asked.append((request.method, request.url.path, orjson.loads(request.content or b"null")))
        if request.method == "GET":
            more = request.url.params.get("cursor") is None
            return httpx2.Response(200, json={"items": [{"task_id": "t"}], "next_cursor": "c" if more else None})
        return httpx2.Response(200, json={"ok": True})

    client = talking_to(handler)
    await client.decide("r", "a b", "approve", "fine", {"n": 1})
    await client.reassign("r", "s", ["bob"])
    assert len(await client.inbox(everybody=True, limit=10)) == 2
    steps = "/api/v1/workflows/runs/r/steps"
    assert asked[:2] == [
        ("POST", f"{steps}/a b/approve", {"comment": "fine", "edited_fields": {"n": 1}}),
        ("POST", f"{steps}/s/reassign", {"assigned_to": ["bob"]}),
    ]


@pytest.mark.parametrize(
    "detail,said",
    [
        ("Step run not found", "Step run not found"),
        ([{"loc": ["body", "edited_fields", "n"], "msg": "odd", "type": "x"}], "edited_fields.n: odd"),
    ],
)
async def test_errors_of_the_second_shape_are_told(detail: object, said: str) -> None:
    client = answering(404, {"detail": detail, "code": "NOT_FOUND", "request_id": "r"})

    with pytest.raises(WindlassError) as refused:
        await client.decide("r", "s", "reject", None, None)
    assert (str(refused.value), refused.value.code, refused.value.kind) == (said, "NOT_FOUND", Kind.NOT_FOUND)


async def test_an_open_run_is_waited_for_longer_than_the_server_does() -> None:
    asked: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(200, json={"state": "completed", "answer": 1})

    client = HttpLive(talking_to(handler))
    order = {"name": "n", "timeout": 300}

    assert [await client.update("r", order), await client.query("r", order)] == [1, 1]
    assert all(request.extensions["timeout"]["read"] > 300 for request in asked)
