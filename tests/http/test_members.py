"""Users, keys, the audit log and webhooks over HTTP: the commands see the same there as in the database."""

from typing import Any

import httpx2
import pytest

from tests.support.apps import Served
from windlass.cli.client.direct_members import DirectMembers
from windlass.cli.client.http import HttpClient
from windlass.cli.client.members import HttpMembers
from windlass.cli.client.webhooks import DirectWebhooks, HttpWebhooks
from windlass.contexts.webhooks.api import Wanted
from windlass.kernel.actors import Actor
from windlass.kernel.errors import WindlassError

WORD = "correct horse"
OPERATOR = Actor("operator", "operator", role="admin", kind="operator")
EVERYTHING = {"tenant": None, "actor": None, "action": None, "target": None}


async def test_a_server_answers_commands_as_the_database_does(served: Served) -> None:
    identity = served.inside.identity
    over, direct = HttpMembers(HttpClient(served.client, "there")), DirectMembers(identity)

    ann = await over.add_user("Ann", WORD, "acme", "user", ["workflows.runs.read"])
    bob = await direct.add_user("bob", WORD, "default", "admin", [])
    assert (ann.pop("new_tenant"), bob.pop("new_tenant")) == (True, True)
    assert set(ann) == set(bob)
    assert await over.change_user("ann", {"role": None, "grant": (), "revoke": ()}) == ann
    changed = await over.change_user("ann", {"role": "admin", "grant": ("*",), "is_active": None})
    assert (changed["role"], changed["permissions"]) == ("admin", ["*", "workflows.runs.read"])
    assert (await over.change_user("ann", {"is_active": False}))["is_active"] is False
    await over.set_password("ann", "another horse")
    assert await over.list_users(None) == await direct.list_users(None)
    assert [user["username"] for user in await over.list_users("acme")] == ["Ann"]

    key = await over.add_key("nightly", "acme", ["*"], 3)
    assert (await identity.recognise({"x-api-key": key["key"]})).actor.tenant_id == "acme"
    await direct.add_key("daily", "default", [], None)
    assert await over.list_keys(None) == await direct.list_keys(None)
    assert [one["name"] for one in await over.list_keys("acme")] == ["nightly"]
    assert (await over.revoke_key(key["key_id"]))["result"] == "applied"
    assert await over.revoke_key(key["key_id"]) == await direct.revoke_key(key["key_id"])

    log = await over.entries(EVERYTHING, 100)
    assert log == await direct.entries({**EVERYTHING, "tenant": "default"}, 100)
    assert log[0]["action"] == "key.revoke"
    assert (
        await over.entries({**EVERYTHING, "action": "user.add"}, 1)
        == [entry for entry in log if entry["action"] == "user.add"][:1]
    )
    verdict = await over.verify(0, 10_000)
    assert verdict.pop("ok") is True
    assert verdict == await direct.verify(0, 10_000)


async def test_an_administrator_looks_after_its_own_tenant(served: Served) -> None:
    identity, client = served.inside.identity, served.client
    ours = await identity.add_key(OPERATOR, "ours", "acme", ["*"])
    theirs = await identity.add_key(OPERATOR, "theirs", "other", ["*"])
    await identity.add_user(OPERATOR, "ann", WORD, "acme")
    await identity.add_user(OPERATOR, "zoe", WORD, "other")

    async def call(method: str, path: str, body: Any = None) -> httpx2.Response:
        return await client.request(method, f"/api/v1{path}", json=body, headers={"X-API-Key": ours.text})

    assert [user["username"] for user in (await call("GET", "/users")).json()["items"]] == ["ann"]
    assert [key["name"] for key in (await call("GET", "/keys")).json()["items"]] == ["ours"]
    for path in ("/users?tenant=other", "/keys?tenant=other", "/audit?tenant=other"):
        assert (await call("GET", path)).status_code == 403
    added = await call("POST", "/users", {"username": "bea", "password": WORD, "permissions": []})
    assert (added.status_code, added.json()["tenant_id"]) == (201, "acme")
    assert (
        await call("POST", "/users", {"username": "eva", "password": WORD, "tenant_id": "other"})
    ).status_code == 403
    assert (await call("POST", "/keys", {"name": "k", "tenant_id": "other"})).status_code == 403
    made = await call("POST", "/keys", {"name": "k", "days": 1})
    assert (made.status_code, made.json()["tenant_id"], made.headers["cache-control"]) == (201, "acme", "no-store")
    missing = await call("PATCH", "/users/nobody", {"is_active": False})
    foreign = await call("PATCH", "/users/zoe", {"is_active": False})
    assert missing.json()["detail"].replace("nobody", "zoe") == foreign.json()["detail"]
    assert (missing.status_code, foreign.status_code) == (404, 404)
    assert (await call("PUT", "/users/zoe/password", {"password": WORD})).status_code == 404
    gone, other = await call("DELETE", "/keys/nothing"), await call("DELETE", f"/keys/{theirs.key.key_id}")
    assert gone.json()["detail"].replace("nothing", theirs.key.key_id) == other.json()["detail"]
    assert (gone.status_code, other.status_code) == (404, 404)
    for path in ("/keys/%00", f"/keys/{'k' * 300}"):
        assert (await call("DELETE", path)).status_code == 404
    for method, path, body, field in (
        ("POST", "/users", {"username": "x", "password": WORD, "colour": 1}, "colour"),
        ("POST", "/users", {"username": "x"}, "password"),
        ("PATCH", "/users/ann", {"role": "king"}, "role"),
        ("POST", "/keys", {"name": "x", "days": "long"}, "days"),
    ):
        refused = await call(method, path, body)
        assert (refused.status_code, refused.json()["detail"][0]["loc"]) == (422, ["body", field])


async def test_dead_letters_are_the_same_over_http(served: Served) -> None:
    webhooks = served.inside.webhooks
    over, direct = HttpWebhooks(HttpClient(served.client, "there")), DirectWebhooks(webhooks)
    fields = (
        "tenant_id, webhook_id, url, host, headers_json, scheme, body_json, attempts, reason, last_error, created_at"
    )
    row = "'default', 'w', 'http://x/', 'x', '{}', 'v1', '{}', 1, 'timeout', 'late', '2026-01-01T00:00:00.000000Z'"
    insert = f"INSERT INTO workflow_webhook_dlq ({fields}) VALUES ({row})"
    for _ in range(3):
        await served.inside.engine.transact(lambda tx: tx.execute(insert))

    letters = await over.letters(Wanted(), 2)
    assert letters == await direct.letters(Wanted(), 2)
    assert len(letters) == 2
    assert await over.letters(Wanted(host="y"), 5) == []
    await over.discard(letters[0]["id"])
    await direct.discard(letters[1]["id"])
    assert await over.discard_many(Wanted(host="y")) == 0
    assert await over.discard_many(Wanted()) == 1
    assert await direct.letters(Wanted(), 5) == []
    assert (await over.replay_many(Wanted()))["matched"] == 0
    for client in (over, direct):
        with pytest.raises(WindlassError, match="Run not found"):
            await client.deliveries("nobody", 5)
