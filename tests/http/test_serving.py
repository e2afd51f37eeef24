"""A service served alone, pages of other sites, and answers that are compressed on their way."""

import asyncio
import gzip
import re
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tests.support.apps import Served, serving
from tests.support.postgres import PostgresServer
from windlass.http.responses import Json
from windlass.http.routing import route

SITE = "https://console.example"
CANDIDATE = {
    "company_name": "Fresh Fruit Ltd",
    "contact_email": "me@example.com",
    "products": ["apples"],
    "truck_count": 3,
    "capacity_tons_per_day": 12,
}


async def test_the_provider_service_alone_has_its_own_routes(database_url: str) -> None:
    async with serving(database_url, serve_only="providers", app_version="1.2.3") as served:
        paths = set((await served.client.get("/openapi.json")).json()["paths"])
        found = (await served.client.get("/")).json()
        page = await served.client.get("/", headers={"Accept": "text/html"})
        health = (await served.client.get("/health")).json()

        assert {"/", "/health", "/healthz", "/readyz", "/metrics", "/auth/login", "/candidates"} <= paths
        known = ("/auth/", "/candidates", "/health", "/healthz", "/readyz", "/metrics")
        assert [path for path in paths if path != "/" and not path.startswith(known)] == []
        for path in ("/records", "/runs", "/version", "/api/v1/workflows/auth/check", "/health/live"):
            assert (await served.client.get(path)).status_code == 404, path
        assert (found["service"], found["version"]) == ("provider-registration-service", "1.2.3")
        for path in found["endpoints"]:
            assert (await served.client.get(path)).status_code == 200, path
        assert "<h1>provider-registration-service 1.2.3</h1>" in page.text
        assert re.findall(r'<a href="([^"]+)"', page.text) == list(found["endpoints"])
        assert health == {
            "status": "healthy", "service": "provider-registration-service", "version": "1.2.3",
            "database": "connected", "timestamp": health["timestamp"],
        }  # fmt: skip
        made = await served.client.post("/candidates", json=CANDIDATE)
        assert (made.status_code, made.json()["status"]) == (201, "pending")
        token = await served.client.post(
            "/auth/login", data={"username": "admin@example.com", "password": "admin123"}
        )  # fmt: skip
        headers = {"Authorization": f"Bearer {token.json()['access_token']}"}
        place = f"/api/providers/candidates/{made.json()['candidate_id']}/reject"
        assert (await served.client.post(place)).status_code == 401
        assert (await served.client.post(place, headers=headers)).json()["status"] == "rejected"
        asked, *_ = [line for line in served.lines.events("request_completed") if line["path"] == "/health"]
        assert (asked["level"], asked["status_code"], asked["process_time_ms"] > 0) == ("info", 200, True)
        assert not {"request.start", "request.end"} & {line["event"] for line in served.lines.events()}


async def test_its_health_says_that_the_database_is_gone(private_pg: PostgresServer) -> None:
    async with serving(private_pg.dsn, auto_migrate=True, serve_only="providers") as served:
        private_pg.stop()

        answer = await served.client.get("/health")

        body = answer.json()
        assert (answer.status_code, body["status"], body["database"]) == (503, "unhealthy", "disconnected")
        assert body.keys() == {"status", "service", "version", "database", "timestamp", "error"}
        figures = (await served.client.get("/metrics")).text.splitlines()
        assert {"provider_service_up 1.0", "provider_service_database_up 0.0"} <= set(figures)
        assert [line["level"] for line in served.lines.events("database_error")] == ["error"] * 2
        private_pg.start()


async def whole(_: Request) -> Response:
    """Answer something long."""
    return Json({"text": "x" * 5000}, headers={"ETag": '"7"'})


async def large(_: Request) -> Response:
    """Answer something very long."""
    return Json({"text": "x" * 500_000})


async def secret(_: Request) -> Response:
    """Answer something long that nobody else should guess."""
    return Json({"text": "x" * 5000}, headers={"Cache-Control": "no-store"})


async def streamed(_: Request) -> Response:
    """Answer piece by piece."""

    async def pieces() -> Any:
        for _ in range(3):
            yield b"data: " + b"x" * 2000 + b"\n\n"

    return StreamingResponse(pieces(), media_type="text/event-stream")


async def with_routes(served: Served) -> None:
    """Add routes that answer so."""
    served.app.router.routes[:0] = [
        route("GET", f"/{handler.__name__}", handler, tag="t", answers={200: {}})
        for handler in (whole, large, secret, streamed)
    ]  # fmt: skip


async def test_long_answers_are_compressed_and_streams_are_not(migrated_sqlite_url: str) -> None:
    async with serving(migrated_sqlite_url) as served:
        await with_routes(served)

        for path, size, accepted in (
            ("/whole", 5011, "br, gzip;q=0.5"), ("/large", 500_011, "*"), ("/whole", 5011, "*;q=0, gzip"),
        ):  # fmt: skip
            async with served.client.stream("GET", path, headers={"Accept-Encoding": accepted}) as answer:
                raw = b"".join([piece async for piece in answer.aiter_raw()])
            assert (answer.headers["content-encoding"], answer.headers["vary"]) == ("gzip", "Accept-Encoding")
            assert int(answer.headers["content-length"]) == len(raw) < size // 10
            assert len(gzip.decompress(raw)) == size
            assert len(answer.headers["x-request-id"]) == 36
        for path, accepted in (
            ("/whole", "identity"), ("/whole", "gzip;q=0"), ("/whole", "gzip;q=0.0, *;q=0"), ("/whole", "gzipped"),
            ("/whole", "gzip;q=0, *"), ("/whole", "*;q=0.5,x-gzip;q=0"),
            ("/whole", "*, GZIP; q=0.000"), ("/whole", "*;q=0"),
            ("/secret", "gzip"), ("/streamed", "gzip"), ("/version", "gzip"),
        ):  # fmt: skip
            plain = await served.client.get(path, headers={"Accept-Encoding": accepted})
            assert "content-encoding" not in plain.headers, (path, accepted)
        head = await served.client.head("/whole", headers={"Accept-Encoding": "gzip"})
        assert (head.status_code, head.content) == (200, b"")

        pieces: list[Any] = []

        async def send(message: Any) -> None:
            pieces.append(message)

        async def receive() -> Any:
            await asyncio.Event().wait()  # the client says no more

        scope = {
            "type": "http", "method": "GET", "path": "/streamed", "raw_path": b"/streamed", "query_string": b"",
            "headers": [(b"accept-encoding", b"gzip")], "http_version": "1.1", "scheme": "http", "root_path": "",
        }  # fmt: skip
        await served.app(scope, receive, send)
        assert [len(piece.get("body", b"")) for piece in pieces] == [0, 2008, 2008, 2008, 0]
    async with serving(migrated_sqlite_url, compress_min_bytes=0) as served:
        await with_routes(served)
        assert "content-encoding" not in (await served.client.get("/whole")).headers


@pytest.mark.parametrize(
    "settings,origin,allowed",
    [
        ({}, "http://localhost:3000", "http://localhost:3000"),
        ({}, "http://127.0.0.1", "http://127.0.0.1"),
        ({}, "http://localhost.evil.example", None),
        ({}, SITE, None),
        ({"cors_origins": (SITE,)}, SITE, SITE),
        ({"cors_origins": (SITE,)}, "http://localhost:3000", None),
        ({"cors_origins": ("*",)}, "https://any.example", "*"),
        ({"cors_origins": ("none",)}, "http://localhost:3000", None),
        ({"app_env": "staging", "jwt_secret_key": "k" * 32}, "http://localhost:3000", None),
        ({"app_env": "staging", "jwt_secret_key": "k" * 32, "cors_origins": (SITE,)}, SITE, SITE),
    ],
)
async def test_pages_of_other_sites_are_let_in_by_the_environment(
    migrated_sqlite_url: str, settings: dict[str, Any], origin: str, allowed: str | None
) -> None:
    async with serving(migrated_sqlite_url, worker=False, **settings) as served:
        answer = await served.client.get("/version", headers={"Origin": origin})
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "authorization,if-match",
        }
        before = await served.client.options("/candidates", headers=asked)

        assert answer.status_code == 200
        assert answer.headers.get("access-control-allow-origin") == allowed
        assert "access-control-allow-credentials" not in answer.headers
        assert (before.headers.get("access-control-allow-origin"), before.status_code == 200) == (
            allowed, allowed is not None,
        )  # fmt: skip
        assert "access-control-allow-origin" not in (await served.client.get("/version")).headers
