"""Runs that are open over HTTP: streams that are resumed, values, updates and queries."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from tests.support.apps import Served, serving
from tests.support.waiting import wait_until_async
from windlass import on_query, publish, signal, step, stream, updates, workflow


@step
async def spell(word: str) -> str:
    for letter in word:
        await stream("letters").write(letter)
    return word.upper()


@workflow(name="live.words")
async def words(most: int) -> list[str]:
    """Take words, spell them into a stream, and say how many there are."""
    heard: list[str] = []

    def check(word: Any) -> None:
        if not isinstance(word, str):
            raise ValueError("a word, please")

    on_query("words", lambda arg: {"words": heard, "arg": arg})
    for _ in range(most):
        update = await updates("word", validator=check).receive()
        if update.payload == "bad":
            update.fail("a bad word")
        else:
            heard.append(await spell(update.payload))
            update.answer({"words": len(heard)})
        publish("count", {"n": len(heard)})
    await stream("letters").write({"done": True})
    await signal("end")
    return heard


def sent(text: str) -> list[tuple[str | None, str, Any]]:
    """Return id, name and data of server-sent events."""
    found = []
    for part in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in part.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines.get("id"), lines["event"], orjson.loads(lines["data"])))
    return found


async def test_an_open_run_is_followed_changed_and_asked(served: Served) -> None:
    client, engine = served.client, served.inside.engine
    handle = await engine.start_run(words, 4)
    base = f"/runs/{handle.run_id}"
    following = asyncio.ensure_future(client.get(f"{base}/streams/letters/follow"))

    async def update(payload: Any, **more: Any) -> Any:
        return await client.post(f"{base}/updates", json={"name": "word", "payload": payload, **more})

    first = await update("ab", update_id="one")
    assert (first.status_code, first.json()) == (200, {
        "run_id": handle.run_id, "update_id": "one", "name": "word", "state": "completed", "answer": {"words": 1},
    })  # fmt: skip
    assert (await update("ab", update_id="one")).json() == first.json()
    assert (await update("other", update_id="one")).status_code == 409
    events = (await client.get(f"{base}/events")).json()["count"]
    refused = await update(7)
    assert (refused.status_code, refused.json()["error"]["message"]) == (422, "a word, please")
    assert refused.json()["error"]["details"]["state"] == "refused"
    known = await client.get(f"{base}/updates/{refused.json()['error']['details']['update_id']}")
    assert (known.json()["state"], known.json()["answer"]) == ("refused", "a word, please")
    assert (await client.get(f"{base}/events")).json()["count"] == events
    failed = await update("bad")
    assert (failed.status_code, failed.json()["error"]["details"]["state"]) == (409, "failed")
    asked = await client.post(f"{base}/queries", json={"name": "words", "argument": [1]})
    assert asked.json() == {"run_id": handle.run_id, "answer": {"words": ["AB"], "arg": [1]}}
    assert (await client.post(f"{base}/queries", json={"name": "nothing"})).status_code == 400
    assert (await client.get(f"{base}/published")).json()["values"] == {"count": {"n": 1}}
    late = await update("c", timeout=0, update_id="late")
    assert (late.status_code, late.json()["state"]) in {(202, "sent"), (202, "accepted"), (202, "completed")}

    async def answered() -> bool:
        return bool((await client.get(f"{base}/updates/late")).json()["state"] == "completed")

    await wait_until_async(answered)
    assert (await update("d")).json()["answer"] == {"words": 3}

    page = (await client.get(f"{base}/streams/letters?offset=1&limit=2")).json()
    assert [(one["offset"], one["value"], one["step_id"], one["attempt"]) for one in page["items"]] == [
        (1, "b", "spell#1", 1), (2, "c", "spell#2", 1),
    ]  # fmt: skip
    assert (page["count"], page["next_offset"], page["closed"]) == (2, 3, False)
    resumed = asyncio.ensure_future(client.get(f"{base}/streams/letters/follow", headers={"Last-Event-ID": "1"}))
    await engine.signal(handle.run_id, "end")
    whole = sent((await following).text)
    assert [(number, data["value"]) for number, _, data in whole[:-1]] == [
        ("0", "a"), ("1", "b"), ("2", "c"), ("3", "d"), ("4", {"done": True}),
    ]  # fmt: skip
    assert whole[-1] == (None, "end", {"run_id": handle.run_id, "next_offset": 5})
    assert (await client.get(f"{base}/updates/%00")).status_code == 404
    assert sent((await resumed).text) == whole[2:]

    assert (await update("e")).status_code == 409
    ended = await client.post(f"{base}/queries", json={"name": "words"})
    assert (ended.status_code, "read what it has published" in ended.json()["error"]["message"]) == (409, True)
    assert (await client.get(f"{base}/published")).json()["values"] == {"count": {"n": 3}}


@pytest.mark.parametrize("database_url", ["migrated_sqlite_url"], indirect=True, ids=["sqlite"])
async def test_what_cannot_be_asked_is_refused_by_name(served: Served) -> None:
    client = served.client
    run = await served.inside.engine.start_run(words, 1)
    base = f"/runs/{run.run_id}"
    for path in ("streams/letters", "streams/letters/follow", "published", "updates/x"):
        assert (await client.get(f"/runs/nobody/{path}")).status_code == 404, path
        assert (await client.get(f"{base}/{path}?no=1")).status_code == 422, path
    assert (await client.get(f"{base}/updates/x")).status_code == 404
    for path in ("streams/no%20name", "streams/no%20name/follow"):
        assert (await client.get(f"{base}/{path}")).status_code == 404, path
    follow = f"{base}/streams/letters/follow"
    assert (await client.get(follow, headers={"Last-Event-ID": "x"})).status_code == 422
    for path in ("updates", "queries"):
        for wrong in ({}, {"name": 1}, {"name": "no name"}, {"name": "word", "more": 1}, {"name": "w", "timeout": 999}):
            answer = await client.post(f"{base}/{path}", json=wrong)
            assert answer.status_code in {400, 422}, (path, wrong)
        assert (await client.post(f"/runs/nobody/{path}", json={"name": "word"})).status_code == 404


async def test_who_may_not_write_may_not_change_a_run(migrated_sqlite_url: str) -> None:
    async with serving(migrated_sqlite_url, api_key="s3cret-key") as guarded:
        run = await guarded.inside.engine.start_run(words, 1)
        path = f"/runs/{run.run_id}/updates"
        for headers in ({}, {"X-API-Key": "wrong"}):
            answer = await guarded.client.post(path, json={"name": "word", "payload": "x"}, headers=headers)
            assert answer.status_code == 401
        allowed = {"X-API-Key": "s3cret-key"}
        assert (await guarded.client.post(path, json={"name": "word", "payload": "x"}, headers=allowed)).is_success
