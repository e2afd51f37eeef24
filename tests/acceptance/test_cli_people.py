"""The commands of users, keys and the audit log, as an operator runs them beside a server."""

import contextlib
import json
import sqlite3
from pathlib import Path

import httpx2
import pytest

from tests.support.commands import Windlass
from tests.support.service import running_service

WORD = b"correct horse\n"
CHECK = "/api/v1/workflows/auth/check"


@pytest.fixture
def windlass(tmp_path: Path) -> Windlass:
    """The command on a database of its own; that both databases do the same, the tests of the context show."""
    return Windlass(tmp_path, {})


def test_users_are_added_changed_and_disabled(windlass: Windlass) -> None:
    added = windlass("users", "add", "Ann", "--tenant", "acme", "--json", stdin=WORD)
    assert added.err == "tenant acme is new\n"
    shown = added.json
    assert (shown["user_id"], shown["username"], shown["tenant_id"], shown["role"]) == ("1", "Ann", "acme", "user")
    assert shown["permissions"] == ["workflows.runs.control", "workflows.runs.read"]
    made = windlass("users", "add", "bob", "--generate", "--no-permissions", "--role", "admin").out
    assert made.splitlines()[1].split() == ["2", "bob", "default", "admin", "-", "yes", "-"]
    assert len(made.splitlines()[2].removeprefix("password: ")) == 24

    assert "already" in windlass("users", "add", "ANN", stdin=WORD, code=4).err
    assert "no password on stdin" in windlass("users", "add", "cid", code=2).err
    assert "8 characters" in windlass("users", "add", "cid", stdin=b"short\n", code=2).err
    assert "no permission 'fly'" in windlass("users", "add", "cid", "--permission", "fly", stdin=WORD, code=2).err
    assert "contradict" in windlass(
        "users", "add", "cid", "--permission", "*", "--no-permissions", stdin=WORD, code=2
    ).err  # fmt: skip
    assert "there is no user cid" in windlass("users", "disable", "cid", code=3).err

    changed = windlass(
        "users", "roles", "ann", "--grant", "workflows.admin", "--revoke", "workflows.runs.read", "--json"
    )
    assert changed.json["permissions"] == ["workflows.admin", "workflows.runs.control"]
    assert windlass("users", "roles", "ann", "--json").json == changed.json
    assert windlass("users", "disable", "ann", "--json").json["is_active"] is False
    assert windlass("users", "enable", "ann", "--json").json["is_active"] is True
    windlass("users", "password", "ann", stdin=b"another horse\n")
    lines = windlass("users", "list").out.splitlines()
    assert lines[0].split() == ["id", "name", "tenant", "role", "permissions", "active", "last", "login"]
    assert [user["username"] for user in windlass("users", "list", "--tenant", "acme", "--json").json] == ["Ann"]

    log = windlass("audit", "list", "--json").json
    actions = [entry["action"] for entry in reversed(log)]
    assert actions == ["user.add", "user.add", "user.change", "user.disable", "user.enable", "user.password"]
    assert {entry["actor"]["kind"] for entry in log} == {"operator"}
    assert len(windlass("audit", "list", "--action", "user.add", "--target", "user:1").out.splitlines()) == 2
    assert windlass("audit", "list", "--limit", "1", "--json").json == log[:1]


def test_keys_are_made_and_revoked(windlass: Windlass) -> None:
    made = windlass("keys", "add", "nightly", "--permission", "workflows.runs.read", "--days", "30")
    key = made.out.strip()
    assert key.startswith("wk_")
    assert "shown this once" in made.err

    [listed] = windlass("keys", "list", "--json").json
    assert (listed["key_id"], listed["name"], listed["revoked_at"]) == (key.split("_")[1], "nightly", None)
    assert key.split("_", 2)[2] not in json.dumps(listed)
    assert windlass("keys", "revoke", listed["key_id"]).out == f"key {listed['key_id']} is revoked\n"
    assert windlass("keys", "revoke", listed["key_id"], "--json").json["result"] == "already_applied"
    assert "there is no key" in windlass("keys", "revoke", "nope", code=3).err
    assert windlass("keys", "list").out.splitlines()[1].split()[:3] == [listed["key_id"], "nightly", "default"]


def test_the_log_is_verified(tmp_path: Path) -> None:
    windlass = Windlass(tmp_path, {})
    for name in ("a", "b", "c"):
        windlass("keys", "add", name)

    said = windlass("audit", "verify").out.splitlines()
    anchor = said[1].removeprefix("the last one is ")
    assert said[0] == "3 entries are as they were written"
    assert anchor.startswith("3:")
    windlass("keys", "add", "d")
    assert windlass("audit", "verify", "--expect", anchor, "--json").json["checked"] == 4
    other = f"3:{'0' * 64}"
    assert "does not have the hash" in windlass("audit", "verify", "--expect", other, code=1).out
    assert "--expect takes" in windlass("audit", "verify", "--expect", "3", code=2).err

    with contextlib.closing(sqlite3.connect(tmp_path / "workflow.db")) as raw:
        raw.execute("DROP TRIGGER audit_log_stays_on_update")
        raw.execute("UPDATE audit_log SET entry = replace(entry, 'key.add', 'key.off')")
        raw.commit()
    found = windlass("audit", "verify", "--json", code=1).json
    assert found["ok"] is False
    assert len(found["problems"]) == 4


def test_a_running_server_hears_of_it(tmp_path: Path) -> None:
    environment = {"API_KEY": "s3cret-key", "AUTH_CACHE_SECONDS": "0", "APP_ENV": "prod", "JWT_SECRET_KEY": "j" * 32}
    with running_service(tmp_path, environment=environment) as service:
        windlass = Windlass(tmp_path, environment)
        windlass("users", "add", "ann", "--role", "admin", stdin=WORD)
        key = windlass("keys", "add", "job", "--json").json
        form = {"username": "ann", "password": "correct horse"}
        token = httpx2.post(f"{service.url}/auth/login", data=form, timeout=30).json()["access_token"]
        callers = {"X-API-Key": key["key"]}, {"Authorization": f"Bearer {token}"}

        def statuses() -> list[int]:
            return [httpx2.get(f"{service.url}{CHECK}", headers=one, timeout=30).status_code for one in callers]

        assert statuses() == [200, 200]
        windlass("keys", "revoke", key["key_id"])
        windlass("users", "disable", "ann")
        assert statuses() == [401, 401]
        over = Windlass(tmp_path, environment, ("--url", service.url))
        for asked in (("users", "list"), ("keys", "list", "--json"), ("audit", "list"), ("audit", "verify")):
            assert over(*asked).out == windlass(*asked).out
        assert over("users", "roles", "ann", "--grant", "workflows.admin", "--json").json["is_active"] is False
        assert over("webhooks", "dlq", "list", "--json").json == []
        assert "are as they were written" in windlass("audit", "verify").out
