"""Logging in, tokens and keys over HTTP, and what a narrowed token reaches."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import Response

from tests.support.apps import Served, serving
from tests.support.databases import ON_ONE_DATABASE
from windlass.contexts.identity.api import VirtualKey
from windlass.http.access import scoped
from windlass.http.callers import caller
from windlass.http.responses import Json
from windlass.http.routing import route
from windlass.kernel.actors import RUNS_READ, Actor

OPERATOR = Actor("operator", "ann", role="admin", kind="operator")
WORD = "correct horse"
CHECK = "/api/v1/workflows/auth/check"
MINT = "/api/v1/workflows/auth/virtual-key"
API_KEY = {"X-API-Key": "s3cret-key"}


@pytest.fixture
async def guarded(database_url: str) -> AsyncIterator[Served]:
    """The started application with an API key and two users."""
    async with serving(database_url, api_key="s3cret-key", jwt_secret_key="j" * 32) as running:
        identity = running.inside.identity
        await identity.add_user(OPERATOR, "ann", WORD, role="admin")
        await identity.add_user(OPERATOR, "bob", WORD, "acme", permissions=[RUNS_READ])
        yield running


async def log_in(served: Served, name: str) -> dict[str, str]:
    """The headers of a user who has logged in."""
    answer = await served.client.post("/auth/login", data={"username": name, "password": WORD})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def test_a_login_answers_a_token(guarded: Served) -> None:
    form = {"grant_type": "password", "username": "Bob", "password": WORD, "scope": "", "client_id": "x"}
    answer = await guarded.client.post("/auth/login", data=form)

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    token, refresh = answer.json()["access_token"], answer.json()["refresh_token"]
    assert answer.json() == {
        "access_token": token, "token_type": "bearer", "expires_in": 1800, "refresh_token": refresh,
    }  # fmt: skip
    known = await guarded.client.get(CHECK, headers={"Authorization": f"bearer {token}"})
    assert known.json() == {"ok": True, "user_id": "2", "username": "bob", "is_admin": False, "tenant_id": "acme"}
    files = {"username": (None, "bob"), "password": (None, WORD)}
    assert (await guarded.client.post("/auth/login", files=files)).status_code == 200


@pytest.mark.parametrize(
    "name,word", [("ann", "wrong"), ("nobody", WORD), ("", ""), ("a\0b", WORD), ("a" * 255, "b" * 1024)]
)
async def test_a_wrong_login_is_one_answer(guarded: Served, name: str, word: str) -> None:
    answer = await guarded.client.post("/auth/login", data={"username": name, "password": word})

    body = answer.json()
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert body == {
        "detail": "Incorrect username or password",
        "code": "UNAUTHORIZED",
        "request_id": answer.headers["x-request-id"],
    }


async def test_guessing_is_slowed_down(guarded: Served) -> None:
    statuses: list[int] = []
    answer: httpx2.Response | None = None
    while answer is None or answer.status_code == 401:
        answer = await guarded.client.post("/auth/login", data={"username": "ann", "password": "wrong"})
        statuses.append(answer.status_code)

    assert statuses == [401, 401, 401, 401, 429]
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["code"] == "RATE_LIMITED"


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "form,fields",
    [
        ({}, ["username", "password"]),
        ({"username": "ann"}, ["password"]),
        ({"username": "ann", "password": WORD, "otp": "1"}, ["otp"]),
        ({"username": ["ann", "bob"], "password": WORD}, ["username"]),
        ({"username": "ann", "password": WORD, "grant_type": "implicit"}, ["grant_type"]),
        ({"username": "a" * 256, "password": "b" * 1025}, ["username", "password"]),
        ({"username": "ann", "password": WORD, "scope": "s" * 1025, "client_id": "c" * 256}, ["scope", "client_id"]),
        ({"username": "ann", "password": WORD, "client_secret": "s" * 1025}, ["client_secret"]),
    ],
)
async def test_a_form_that_is_none_is_refused_by_field(guarded: Served, form: Any, fields: list[str]) -> None:
    answer = await guarded.client.post("/auth/login", data=form)

    assert answer.status_code == 422
    assert [issue["loc"] for issue in answer.json()["detail"]] == [["body", field] for field in fields]
    sent = await guarded.client.post("/auth/login", json={"username": "ann", "password": WORD})
    assert sent.status_code == 422


async def test_everything_that_tells_who_calls_is_understood(guarded: Served) -> None:
    key = (await guarded.inside.identity.add_key(OPERATOR, "job", "acme")).text
    ann = await log_in(guarded, "ann")

    async def who(headers: dict[str, str]) -> tuple[str, str, bool]:
        body = (await guarded.client.get(CHECK, headers=headers)).json()
        return body["username"], body["tenant_id"], body["is_admin"]

    assert await who(API_KEY) == ("api-key", "default", True)
    assert await who({"x-api-KEY": "s3cret-key"}) == ("api-key", "default", True)
    assert await who({"X-API-Key": key}) == ("job", "acme", False)
    assert await who({"Authorization": f"Bearer {key}"}) == ("job", "acme", False)
    assert await who(ann) == ("ann", "default", True)
    assert await who(ann | {"X-API-Key": key}) == ("ann", "default", True)


async def test_in_development_everybody_is_the_developer(served: Served) -> None:
    answer = await served.client.get(CHECK)

    assert answer.json() == {"ok": True, "user_id": "dev", "username": "dev", "is_admin": True, "tenant_id": "default"}
    assert (await served.client.get(CHECK, headers={"X-API-Key": "left over"})).json()["user_id"] == "dev"
    assert (await served.client.get(CHECK, headers={"Authorization": "Bearer no"})).status_code == 401


async def test_outside_development_nobody_is(database_url: str) -> None:
    async with serving(database_url, app_env="staging", jwt_secret_key="j" * 32) as staged:
        answer = await staged.client.get(CHECK)

        assert (answer.status_code, answer.json()["detail"]) == (401, "Not authenticated")
        assert answer.headers["www-authenticate"] == "Bearer"


async def saved(request: Request) -> Response:
    """Start a saved run."""
    return Json({"user_id": (await caller(request)).user_id})


@pytest.fixture
async def runnable(guarded: Served) -> Served:
    """The application with routes that a token can be narrowed down to."""
    run = scoped("workflows.run_saved", runs=True)
    now = scoped("scheduler.run_now", runs=True)
    guarded.app.router.routes[:0] = [
        route("POST", "/api/v1/workflows/{workflow_id}/run", saved, tag="t", answers={200: {}}, access=run),
        route("GET", "/api/v1/workflows/{workflow_id}/run", saved, tag="t", answers={200: {}}, access=run),
        route("POST", "/api/v1/scheduler/workflows/{schedule_id}/run-now", saved, tag="t", answers={200: {}},
              access=now),
    ]  # fmt: skip
    return guarded


async def narrowed(served: Served, **wanted: Any) -> dict[str, str]:
    """The headers of a virtual key of ann's."""
    minted = await served.client.post(MINT, json=wanted, headers=await log_in(served, "ann"))
    assert minted.status_code == 200, minted.text
    assert minted.headers["cache-control"] == "no-store"
    body = minted.json()
    assert body.keys() == {"token", "expires_at", "scope", "schedule_id"}
    return {"Authorization": f"Bearer {body['token']}"}


RUN, OTHER, NOW = "/api/v1/workflows/7/run", "/api/v1/workflows/77/run", "/api/v1/scheduler/workflows/s1/run-now"


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "wanted,reached,refused,said",
    [
        ({}, [("POST", RUN), ("POST", NOW), ("GET", CHECK)], [], ""),
        ({"scope": "providers"}, [], [("POST", RUN), ("GET", CHECK)], "invalid token scope"),
        (
            {"allowed_endpoints": ["workflows.run_saved"]},
            [("POST", RUN)],
            [("POST", NOW), ("GET", CHECK), ("GET", "/api/v1/audit")],
            "endpoint not permitted",
        ),
        ({"allowed_methods": ["post"]}, [("POST", RUN)], [("GET", RUN), ("GET", CHECK)], "method not permitted"),
        (
            {"allowed_paths": ["/api/v1/workflows/7"]},
            [("POST", RUN)],
            [("POST", OTHER), ("POST", NOW), ("GET", CHECK)],
            "path not permitted",
        ),
        ({"schedule_id": "s1"}, [("POST", NOW), ("GET", CHECK)], [("POST", RUN)], "schedule scope mismatch"),
        ({"schedule_id": "s2"}, [("GET", CHECK)], [("POST", NOW), ("POST", RUN)], "schedule scope mismatch"),
    ],
)
async def test_a_narrowed_token_reaches_what_it_says_alone(
    runnable: Served, wanted: Any, reached: list[tuple[str, str]], refused: list[tuple[str, str]], said: str
) -> None:
    headers = await narrowed(runnable, **wanted)

    for method, path in reached:
        assert (await runnable.client.request(method, path, headers=headers)).status_code == 200, path
    for method, path in refused:
        answer = await runnable.client.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["detail"]) == (403, f"Forbidden: {said}"), path


async def test_a_schedule_may_be_named_in_a_header(runnable: Served) -> None:
    headers = await narrowed(runnable, schedule_id="s1")

    for named, status in (("s1", 200), ("s2", 403)):
        answer = await runnable.client.post(RUN, headers=headers | {"X-Workflow-Schedule-Id": named})
        assert answer.status_code == status
    other = "/api/v1/scheduler/workflows/s2/run-now"
    answer = await runnable.client.post(other, headers=headers | {"X-Workflow-Schedule-Id": "s1"})
    assert answer.status_code == 403


async def test_a_quota_is_used_up(runnable: Served) -> None:
    runs, calls = await narrowed(runnable, max_runs=2), await narrowed(runnable, max_calls=2)

    statuses = [(await runnable.client.post(RUN, headers=runs)).status_code for _ in range(3)]
    assert statuses == [200, 200, 403]
    assert (await runnable.client.get(CHECK, headers=runs)).status_code == 200
    answers = [await runnable.client.get(CHECK, headers=calls) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 403]
    assert answers[2].json()["detail"] == "Forbidden: token quota exceeded"


async def test_api_keys_are_not_narrowed_down(runnable: Served) -> None:
    assert (await runnable.client.post(RUN, headers=API_KEY)).json() == {"user_id": "api-key"}
    assert (await runnable.client.post(RUN)).status_code == 401


async def test_who_mints_is_an_administrator_who_logged_in(guarded: Served, served: Served) -> None:
    bob = await guarded.client.post(MINT, json={}, headers=await log_in(guarded, "bob"))
    keeper = await guarded.client.post(MINT, headers=API_KEY)
    dev = await served.client.post(MINT, json={})
    minted = await guarded.client.post(MINT, json={}, headers=await narrowed(guarded, max_calls=9))

    assert (bob.status_code, bob.json()["detail"]) == (403, "Permission denied: missing workflows.admin")
    for answer in (keeper, dev, minted):
        assert answer.status_code == 400
        assert answer.json()["detail"].startswith("virtual keys are for users who log in")


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "body,field",
    [
        ([], None),
        ({"ttl_minutes": 0}, "ttl_minutes"),
        ({"ttl_minutes": 1441}, "ttl_minutes"),
        ({"ttl_minutes": True}, "ttl_minutes"),
        ({"ttl_minutes": None}, "ttl_minutes"),
        ({"scope": ""}, "scope"),
        ({"scope": None}, "scope"),
        ({"schedule_id": "a b"}, "schedule_id"),
        ({"allowed_methods": "POST"}, "allowed_methods"),
        ({"allowed_paths": [1]}, "allowed_paths"),
        ({"allowed_endpoints": ["x"] * 101}, "allowed_endpoints"),
        ({"max_runs": 0}, "max_runs"),
        ({"max_calls": 1.5}, "max_calls"),
        ({"role": "admin"}, "role"),
    ],
)
async def test_a_key_that_is_none_is_refused_by_field(served: Served, body: Any, field: str | None) -> None:
    answer = await served.client.post(MINT, json=body)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == (["body"] if field is None else ["body", field])


async def test_the_audit_log_is_shown_to_administrators_of_the_tenant(guarded: Served) -> None:
    identity = guarded.inside.identity
    acme = Actor("2", "bob", "acme")
    for number in range(3):
        await identity.note(acme, "run.cancel", f"run:{number}")
    ann, bob = await log_in(guarded, "ann"), await log_in(guarded, "bob")
    minted = await guarded.client.post(MINT, json={}, headers=ann | {"X-Request-ID": "r-7"})
    assert minted.status_code == 200

    listed = (await guarded.client.get("/api/v1/audit", headers=ann)).json()
    assert [entry["action"] for entry in listed["items"]] == ["virtual_key.mint", "user.add", "user.add"]
    assert listed["items"][0]["request_id"] == "r-7"
    assert minted.json()["token"] not in str(listed)
    page = (await guarded.client.get("/api/v1/audit?limit=2", headers=API_KEY)).json()
    rest = (await guarded.client.get(f"/api/v1/audit?cursor={page['next_cursor']}", headers=API_KEY)).json()
    assert [entry["action"] for entry in page["items"] + rest["items"]] == ["virtual_key.mint", "user.add", "user.add"]
    assert rest["next_cursor"] is None
    found = (await guarded.client.get("/api/v1/audit?action=user.add&target=user:2&actor=operator", headers=ann)).json()
    assert [entry["after"]["username"] for entry in found["items"]] == ["bob"]
    for path in ("/api/v1/audit", "/api/v1/audit/verify"):
        refused = await guarded.client.get(path, headers=bob)
        assert (refused.status_code, refused.json()["detail"]) == (403, "Access denied. Required role(s): admin")

    verdict = (await guarded.client.get("/api/v1/audit/verify?limit=4", headers=ann)).json()
    assert (verdict["ok"], verdict["checked"], verdict["next"]) == (True, 4, 4)
    verdict = (await guarded.client.get("/api/v1/audit/verify?after=4", headers=ann)).json()
    assert (verdict["ok"], verdict["last_seq"], verdict["next"], verdict["problems"]) == (True, 6, None, [])
    wrong = await guarded.client.get("/api/v1/audit?cursor=x&actor=", headers=ann)
    assert [issue["loc"][1] for issue in wrong.json()["detail"]] == ["cursor", "actor"]


async def test_a_virtual_key_ends_with_its_user(guarded: Served) -> None:
    identity = guarded.inside.identity
    token = (await identity.mint_for("2", VirtualKey())).token
    headers = {"Authorization": f"Bearer {token}"}
    assert (await guarded.client.get(CHECK, headers=headers)).status_code == 200

    await identity.change_user(OPERATOR, "bob", is_active=False)

    answer = await guarded.client.get(CHECK, headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (401, "Could not validate credentials")


@pytest.mark.parametrize("form", [True, False], ids=["form", "json"])
async def test_tokens_are_refreshed_and_end_with_the_login(guarded: Served, form: bool) -> None:
    said = {"username": "ann", "password": WORD}
    first = (await guarded.client.post("/auth/login", data=said)).json()

    async def post(path: str, token: str | None, headers: dict[str, str] | None = None) -> httpx2.Response:
        body: Any = None if token is None else {"refresh_token": token}
        if form and body is not None:
            return await guarded.client.post(path, data={**body, "grant_type": "refresh_token"} if "refresh" in path
                                             else body, headers=headers)  # fmt: skip
        return await guarded.client.post(path, json=body, headers=headers)

    answer = await post("/auth/refresh", first["refresh_token"])
    second = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert second.keys() == first.keys()
    headers = {"Authorization": f"Bearer {second['access_token']}"}
    assert (await guarded.client.get(CHECK, headers=headers)).status_code == 200

    ended = await guarded.client.post("/auth/logout", headers=headers | {"X-Request-ID": "r-9"})
    assert (ended.status_code, ended.json()) == (200, {"ok": True})
    for refused in (
        await guarded.client.get(CHECK, headers=headers),
        await post("/auth/refresh", second["refresh_token"]),
        await post("/auth/logout", second["refresh_token"]),
        await post("/auth/refresh", "nonsense"),
    ):
        assert (refused.status_code, refused.json()["detail"]) == (401, "Could not validate credentials")
        assert refused.headers["www-authenticate"] == "Bearer"
    nobody = await guarded.client.post("/auth/logout")
    assert (nobody.status_code, nobody.json()["detail"]) == (401, "Not authenticated")
    listed = (await guarded.client.get("/api/v1/audit?action=session.end", headers=API_KEY)).json()["items"]
    assert [entry["request_id"] for entry in listed] == ["r-9"]
    wrong = [await post("/auth/refresh", None), await guarded.client.post("/auth/refresh", json={"refresh_token": 1})]
    wrong.append(await guarded.client.post("/auth/refresh", data={"token": "x", "grant_type": "password"}))
    wrong += [await post(path, "t" * 256) for path in ("/auth/refresh", "/auth/logout")]
    assert [[issue["loc"][-1] for issue in answer.json()["detail"]] for answer in wrong[1:]] == [
        ["refresh_token"],
        ["token", "refresh_token", "grant_type"],
        ["refresh_token"],
        ["refresh_token"],
    ]
    assert [answer.status_code for answer in wrong] == [422] * 5


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "token",
    ["a.b.c", "eyJhbGciOiJub25lIn0.e30.", "x" * 9000, "..", "wk_0"],
    ids=["garbage", "none", "9 kB", "dots", "key"],
)
async def test_what_is_no_token_is_one_answer_everywhere(guarded: Served, token: str) -> None:
    for method, path in (("GET", CHECK), ("POST", "/auth/logout")):
        answer = await guarded.client.request(method, path, headers={"Authorization": f"Bearer {token}"})

        if (path, token) == ("/auth/logout", "wk_0"):
            assert answer.status_code == 400
            continue
        body = answer.json()
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert (body["detail"], body["code"]) == ("Could not validate credentials", "UNAUTHORIZED")


async def test_the_start_says_who_may_log_in_with_the_word_of_the_runbook(database_url: str) -> None:
    form = {"username": "admin@example.com", "password": "admin123"}
    async with serving(database_url) as development:
        [told] = development.lines.events("identity.development_login")
        answer = await development.client.post("/auth/login", data=form)
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        known = (await development.client.get(CHECK, headers=headers)).json()
    assert (told["username"], told["level"]) == ("admin@example.com", "warning")
    assert (known["username"], known["is_admin"]) == ("admin@example.com", True)

    async with serving(database_url, app_env="staging", jwt_secret_key="j" * 32) as staged:
        assert staged.lines.events("identity.development_login") == []
        [told] = staged.lines.events("identity.development_user_refused")
        assert told["username"] == "admin@example.com"
        answer = await staged.client.post("/auth/login", data=form)
        assert (answer.status_code, answer.json()["detail"]) == (401, "Incorrect username or password")
        assert (await staged.client.get(CHECK, headers=headers)).status_code == 401
