"""How often a caller may ask: who is counted as one, what a refusal says, and counting together in Valkey."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import httpx2
import pytest

from tests.support.apps import Served, serving
from tests.support.valkey import ValkeyServer
from windlass.http.rates import Group, group_of
from windlass.kernel.actors import Actor
from windlass.kernel.errors import ConfigError
from windlass.settings import load

OPERATOR = Actor("operator", "ann", role="admin", kind="operator")
WORD = "correct horse"
NOBODY = "00000000-0000-4000-8000-000000000000"
SMALL: dict[str, Any] = {
    "rate_limits_enabled": True, "rate_limits_login": 4, "rate_limits_writes": 2, "rate_limits_reads": 3,
    "rate_limits_admin": 2, "worker": False, "jwt_secret_key": "j" * 32,
}  # fmt: skip


def at(served: Served, address: str) -> httpx2.AsyncClient:
    """A client that speaks from an address."""
    transport = httpx2.ASGITransport(app=served.app, client=(address, 1))
    return httpx2.AsyncClient(transport=transport, base_url="http://windlass")


async def statuses(client: httpx2.AsyncClient, method: str, path: str, times: int, **more: Any) -> list[int]:
    """What a request is answered, several times over."""
    return [(await client.request(method, path, **more)).status_code for _ in range(times)]


@asynccontextmanager
async def limited(database_url: str, **settings: Any) -> AsyncIterator[Served]:
    """The application with small limits and two users."""
    async with serving(database_url, **SMALL, **settings) as running:
        yield running


async def test_callers_are_counted_each_for_itself(migrated_sqlite_url: str) -> None:
    async with limited(migrated_sqlite_url) as served:
        for name in ("ann", "bob"):
            await served.inside.identity.add_user(OPERATOR, name, WORD, role="admin")
        one, other = at(served, "203.0.113.1"), at(served, "203.0.113.2")
        tokens = []
        for name in ("ann", "bob"):
            answer = await one.post("/auth/login", data={"username": name, "password": WORD})
            tokens.append({"Authorization": f"Bearer {answer.json()['access_token']}"})
        wrong = {"username": "nobody", "password": "x" * 9}

        assert await statuses(one, "POST", "/auth/login", 3, data=wrong) == [401, 401, 429]
        assert await statuses(other, "POST", "/auth/login", 1, data=wrong) == [401]
        assert await statuses(one, "GET", "/candidates", 4) == [200, 200, 200, 429]
        assert await statuses(one, "GET", "/api/providers/candidates/x", 1) == [429]
        assert await statuses(one, "HEAD", "/candidates", 1, headers=tokens[0]) == [200]
        assert await statuses(other, "GET", "/candidates", 3, headers=tokens[0]) == [200, 200, 429]
        assert await statuses(other, "GET", "/candidates", 4, headers={"Authorization": "Bearer x"}) == [401] * 3 + [
            429
        ]
        assert await statuses(one, "POST", "/candidates", 3, json={}) == [422, 422, 429]
        for headers in tokens:
            assert await statuses(one, "POST", "/candidates/x/approve", 3, headers=headers) == [422, 422, 429]
        assert await statuses(one, "PATCH", "/candidates/x", 3) == [401, 401, 429]
        six = [at(served, address) for address in ("2001:db8::1", "2001:db8::2:1", "2001:db8:0:1::1", "::1")]
        found = [await statuses(client, "POST", "/candidates", 2, json={}) for client in six]
        assert found == [[422, 422], [429, 429], [422, 422], [422, 422]]

        refused = await one.get("/candidates")
        wait = refused.json()["retry_after"]
        assert refused.json() == {
            "error": "rate_limit_exceeded",
            "message": f"Too many requests: 3 in a minute are allowed; try again in {wait} s",
            "retry_after": wait,
        }
        assert 1 <= wait <= 60
        told = ("retry-after", "x-ratelimit-limit", "x-ratelimit-remaining")
        assert [refused.headers[name] for name in told] == [str(wait), "3", "0"]
        # The rest of the product is not counted.
        assert set(await statuses(one, "GET", "/records", 5)) == {200}
        assert set(await statuses(one, "GET", "/health", 5)) == {200}


@pytest.mark.parametrize(
    "method,path,group",
    [
        ("POST", "/auth/login", Group.LOGIN),
        ("GET", "/auth/oidc/callback", Group.LOGIN),
        ("GET", "/auth/oidc/login", Group.LOGIN),
        ("GET", "/auth/login", None),
        ("POST", "/api/providers/candidates", Group.WRITES),
        ("GET", "/api/providers/candidates/1", Group.READS),
        ("PATCH", "/candidates/1", Group.ADMIN),
        ("POST", "/candidates/1/reject", Group.ADMIN),
        ("OPTIONS", "/candidates", None),
        ("GET", "/candidatesque", None),
        ("GET", "/api/v1/workflows", None),
    ],
)
def test_what_counts_as_what(method: str, path: str, group: Group | None) -> None:
    assert group_of(method, path) == group


async def test_who_is_counted_is_recognised_once(migrated_sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with limited(migrated_sqlite_url) as served:
        await served.inside.identity.add_user(OPERATOR, "ann", WORD, role="admin")
        answer = await served.client.post("/auth/login", data={"username": "ann", "password": WORD})
        recognise, seen = served.inside.identity.recognise, []

        async def watched(headers: Any) -> Any:
            seen.append(headers.get("authorization"))
            return await recognise(headers)

        monkeypatch.setattr(served.inside.identity, "recognise", watched)
        for token, decided, read in ((answer.json()["access_token"], 404, 200), ("nonsense", 401, 401)):
            headers = {"Authorization": f"Bearer {token}"}
            approved = await served.client.post(f"/candidates/{NOBODY}/approve", headers=headers)
            assert approved.status_code == decided, approved.text
            for method in ("GET", "HEAD"):
                assert (await served.client.request(method, "/candidates", headers=headers)).status_code == read
            assert seen == [headers["Authorization"]] * 3
            seen.clear()


async def test_processes_count_together_while_valkey_is_there(migrated_sqlite_url: str) -> None:
    server = ValkeyServer()
    url = server.url.replace("redis:", "valkey:")
    with ExitStack() as running:
        running.callback(server.close)
        server.start()
        async with limited(migrated_sqlite_url, redis_url=url) as here:
            assert await statuses(here.client, "GET", "/candidates", 2) == [200, 200]
            async with limited(migrated_sqlite_url, redis_url=url) as there:
                assert await statuses(there.client, "GET", "/candidates", 2) == [200, 429]
            running.close()
            assert await statuses(here.client, "GET", "/candidates", 4) == [200, 200, 200, 429]
            [told] = here.lines.events("rates.not_shared")
            assert told["error"]


async def test_limits_can_be_switched_off(migrated_sqlite_url: str) -> None:
    async with limited(migrated_sqlite_url) as on, serving(migrated_sqlite_url) as off:
        assert await statuses(on.client, "GET", "/candidates", 4) == [200, 200, 200, 429]
        assert set(await statuses(off.client, "GET", "/candidates", 101)) == {200}
    for name, value in (("REDIS_URL", "localhost:6379"), ("RATE_LIMITS_LOGIN", "0")):
        with pytest.raises(ConfigError, match=f"^{name}: "):
            load({}, **{name.lower(): value})
