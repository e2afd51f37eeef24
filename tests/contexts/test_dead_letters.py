"""Dead letters: listed, sent again by one run at a time, thrown away, and taken up by a worker within its bounds."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.receiver import Receiver, Reply, receiving
from tests.support.waiting import wait_until, wait_until_async
from windlass.bootstrap import Application, run_application
from windlass.contexts.identity.api import AuditQuery
from windlass.contexts.webhooks import ledger, letters, service
from windlass.contexts.webhooks.api import Delivery, LetterNotFound, Wanted
from windlass.contexts.webhooks.model import Attempt
from windlass.kernel.actors import DEVELOPER, RUNS_CONTROL, Actor, Forbidden
from windlass.kernel.clock import SECOND, to_iso
from windlass.kernel.errors import Conflict, Invalid, ValidationFailed
from windlass.settings import Settings

ACME = Actor("a", "a", "acme", "admin")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Somebody who wants to hear."""
    with receiving() as running:
        yield running


@asynccontextmanager
async def caring(database_url: str, **settings: Any) -> AsyncIterator[Application]:
    """Run the application."""
    usual: dict[str, Any] = {
        "lease_seconds": 5.0, "workflows_egress_allowed_ports": ("*",), "workflows_egress_block_private": False,
        "workflows_webhook_dlq_max_attempts": 2, "workflows_webhook_secret": "k", "workflows_webhook_timeout": 5.0,
    }  # fmt: skip
    async with run_application(Settings(database_url=database_url, **{**usual, **settings})) as application:
        yield application


async def bury(
    application: Application, url: str, *, tenant: str = "default", reason: str = "http_503", age: int = 0,
    due_in: int | None = None,
) -> int:  # fmt: skip
    """Make a dead letter and return its id."""
    at = application.engine.clock.now() - age * SECOND
    attempt = Attempt(status="failed", code=None, reason=reason, error=reason)

    def write(tx: Any) -> int:
        delivery = Delivery(f"w-{reason}", url, '{"a": 1}', tenant, headers={"X-Run-Id": "r"})
        ledger.bury(tx, delivery, 2, attempt, None if due_in is None else at + due_in * SECOND, at)
        return letters.last_id(tx.connection)

    return await application.engine.transact(write)


async def listed(application: Application, actor: Actor = DEVELOPER, **wanted: Any) -> list[dict[str, Any]]:
    """Return dead letters."""
    return await application.webhooks.letters(actor, Wanted(**wanted))


async def test_they_are_listed_and_filtered(database_url: str) -> None:
    async with caring(database_url) as application:
        old = await bury(application, "http://a.test/x", age=7200)
        other = await bury(application, "http://b.test/", tenant="acme", reason="timeout")
        now = application.engine.clock.now()

        first, second = await listed(application)
        assert (first["id"], first["url"], first["host"], first["attempts"]) == (old, "http://a.test/x", "a.test", 2)
        assert (first["body"], first["last_error"]) == ({"a": 1}, "max_attempts_exceeded:2: http_503")
        assert (first["next_attempt_at"], first["reason"], second["id"]) == (None, "http_503", other)
        hour_ago = to_iso(now - 3600 * SECOND)
        cases: tuple[tuple[dict[str, Any], list[int]], ...] = (
            ({"host": "b.test"}, [other]), ({"tenant": "default"}, [old]), ({"error": "timeout"}, [other]),
            ({"created_before": hour_ago}, [old]), ({"created_after": hour_ago}, [other]), ({"host": "c.test"}, []),
        )  # fmt: skip
        for wanted, ids in cases:
            assert [letter["id"] for letter in await listed(application, **wanted)] == ids, wanted
        pages = application.webhooks.letters
        assert [letter["id"] for letter in await pages(DEVELOPER, Wanted(), limit=1, offset=1)] == [other]
        assert [letter["id"] for letter in await pages(DEVELOPER, Wanted(), limit=1, after=old)] == [other]


async def test_who_may(database_url: str, receiver: Receiver) -> None:
    async with caring(database_url) as application:
        mine, foreign = await bury(application, receiver.url, tenant="acme"), await bury(application, receiver.url)
        webhooks = application.webhooks

        assert [letter["id"] for letter in await listed(application, ACME)] == [mine]
        assert await listed(application, ACME, tenant="acme") == await listed(application, ACME)
        for many in (webhooks.letters, webhooks.replay_many, webhooks.discard_many):
            with pytest.raises(ValidationFailed, match="your own tenant"):
                await many(ACME, Wanted(tenant="default"))
        for act in (webhooks.replay, webhooks.discard):
            with pytest.raises(LetterNotFound):
                await act(ACME, foreign)
        for actor in (Actor("u", "u", permissions=frozenset({RUNS_CONTROL})), Actor("u", "u")):
            with pytest.raises(Forbidden):
                await listed(application, actor)
            with pytest.raises(Forbidden):
                await webhooks.replay(actor, foreign)
        assert await webhooks.discard_many(ACME, Wanted()) == 1
        [entry] = await application.identity.entries(AuditQuery(actor_id="a", action="webhook.discard_many"))
        assert entry["target"] == "webhook_dlq:*"
        assert [letter["id"] for letter in await listed(application)] == [foreign]
    assert receiver.received == []


async def test_a_replay_that_is_heard_is_the_end_of_it(database_url: str, receiver: Receiver) -> None:
    async with caring(database_url) as application:
        dlq_id = await bury(application, receiver.url)

        done = await application.webhooks.replay(DEVELOPER, dlq_id)

        assert done.answer == {"ok": True, "status_code": 200}
        assert await listed(application) == []
        with pytest.raises(LetterNotFound):
            await application.webhooks.replay(DEVELOPER, dlq_id)
    [got] = receiver.received
    assert (got.body, got.headers["x-webhook-id"], got.headers["x-run-id"]) == (b'{"a": 1}', "w-http_503", "r")
    assert "x-workflows-signature" in got.headers


@pytest.mark.parametrize(
    "reply,answer",
    [
        (
            Reply(503),
            {"ok": False, "status_code": 503, "error": "delivery_failed", "error_category": "transient_error"},
        ),
        (
            Reply(429),
            {"ok": False, "status_code": 429, "error": "delivery_failed", "error_category": "transient_error"},
        ),
        (
            Reply(404),
            {"ok": False, "status_code": 404, "error": "delivery_failed", "error_category": "permanent_error"},
        ),
        (Reply(cut=True), {"ok": False, "error_type": "network_error", "error_category": "transient_error"}),
    ],
)
async def test_a_replay_that_fails_is_counted(
    database_url: str, receiver: Receiver, reply: Reply, answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "REPLAY_GRACE", 60.0)
    receiver.usual = reply
    async with caring(database_url) as application:
        dlq_id = await bury(application, receiver.url)

        done = await application.webhooks.replay(DEVELOPER, dlq_id)

        assert done.answer is not None
        assert {name: done.answer.get(name) for name in answer} == answer
        [letter] = await listed(application)
        assert (letter["attempts"], letter["next_attempt_at"]) == (3, None)


@pytest.mark.parametrize(
    "url,settings",
    [
        ("http://denied.test/", {"workflows_webhook_denylist": ("denied.test",)}),
        ("http://localhost/", {"workflows_egress_block_private": True}),
    ],
)
async def test_a_replay_that_the_policy_refuses_stays(database_url: str, url: str, settings: dict[str, Any]) -> None:
    async with caring(database_url, **settings) as application:
        dlq_id = await bury(application, url)

        with pytest.raises(Invalid, match=r"^Denied by egress policy$"):
            await application.webhooks.replay(DEVELOPER, dlq_id)
        assert [letter["id"] for letter in await listed(application)] == [dlq_id]


async def test_two_replays_at_once_send_once(database_url: str, receiver: Receiver) -> None:
    receiver.replies = [Reply(hang=True)]
    async with caring(database_url) as application:
        dlq_id = await bury(application, receiver.url)
        first = await application.webhooks.replay(DEVELOPER, dlq_id, wait=False)
        await asyncio.to_thread(wait_until, lambda: len(receiver.received) == 1)

        with pytest.raises(Conflict, match="already"):
            await application.webhooks.replay(DEVELOPER, dlq_id)
        await application.engine.control(first.run_id, "cancel")

        async def free() -> bool:
            return (await application.engine.get_run(first.run_id)).status == "cancelled"

        await wait_until_async(free)
        # The run that had it has ended without a word: the letter is free again.
        assert (await application.webhooks.replay(DEVELOPER, dlq_id)).answer == {"ok": True, "status_code": 200}


async def test_many_are_sent_again(database_url: str, receiver: Receiver) -> None:
    receiver.answer = lambda got: Reply(500) if got.path == "/bad" else None
    async with caring(database_url) as application:
        for number in range(letters_beyond_a_page := 55):
            await bury(application, f"{receiver.url}/{number}")
        bad = await bury(application, f"{receiver.url}/bad")
        left = await bury(application, f"{receiver.url}/other", reason="timeout")

        many = await application.webhooks.replay_many(DEVELOPER, Wanted(error="http_503"))

        assert many.matched == letters_beyond_a_page + 1
        sums = await application.engine.result(many.run_id, timeout=60)
        assert sums == {"delivered": 55, "failed": 1, "blocked": 0, "gone": 0}
        assert [letter["id"] for letter in await listed(application)] == [bad, left]
    assert len({got.path for got in receiver.received}) == len(receiver.received) == 56


async def test_many_are_thrown_away(database_url: str) -> None:
    async with caring(database_url) as application:
        for _ in range(3):
            await bury(application, "http://a.test/")
        kept = await bury(application, "http://b.test/")

        assert await application.webhooks.discard_many(DEVELOPER, Wanted(host="a.test")) == 3
        assert [letter["id"] for letter in await listed(application)] == [kept]
        await application.webhooks.discard(DEVELOPER, kept)
        assert await listed(application) == []


async def test_the_worker_takes_up_what_is_due_and_signs_it(database_url: str, receiver: Receiver) -> None:
    more = {"workflows_webhook_dlq_enabled": True, "workflows_webhook_dlq_interval_sec": 0.05}
    async with caring(database_url, **more) as application:
        later = await bury(application, receiver.url, due_in=3600)
        by_hand = await bury(application, receiver.url)
        await bury(application, receiver.url, due_in=0)

        async def heard() -> bool:
            return [letter["id"] for letter in await listed(application)] == [later, by_hand]

        await wait_until_async(heard, timeout=30)
    [got] = receiver.received
    assert "x-workflows-signature" in got.headers
    assert got.headers["x-webhook-id"] == "w-http_503"


async def test_the_worker_gives_up_in_the_end(database_url: str, receiver: Receiver) -> None:
    receiver.usual = Reply(500)
    more = {
        "workflows_webhook_dlq_enabled": True, "workflows_webhook_dlq_interval_sec": 0.02,
        "workflows_webhook_dlq_max_backoff_sec": 0.01,
    }  # fmt: skip
    async with caring(database_url, **more) as application:
        await bury(application, receiver.url, due_in=0)

        async def over() -> bool:
            [letter] = await listed(application)
            return letter["attempts"] == 4 and letter["next_attempt_at"] is None

        await wait_until_async(over, timeout=30)
        assert await application.webhooks.take_up() == 0
    assert len(receiver.received) == 2


async def test_the_worker_leaves_alone_what_the_policy_refuses(database_url: str) -> None:
    more = {
        "workflows_webhook_dlq_enabled": True, "workflows_webhook_dlq_interval_sec": 0.02,
        "workflows_webhook_denylist": ("denied.test",),
    }  # fmt: skip
    async with caring(database_url, **more) as application:
        await bury(application, "http://denied.test/", due_in=0)

        async def refused() -> bool:
            [letter] = await listed(application)
            return letter["last_error"] == "denied_by_policy" and letter["next_attempt_at"] is None

        await wait_until_async(refused, timeout=30)
        assert await application.webhooks.take_up() == 0


async def test_two_workers_take_each_letter_once(database_url: str, receiver: Receiver) -> None:
    more = {"workflows_webhook_dlq_batch": 3}
    async with caring(database_url, **more) as one, caring(database_url, **more) as two:
        for _ in range(5):
            await bury(one, receiver.url, due_in=0)

        taken = await asyncio.gather(one.webhooks.take_up(), two.webhooks.take_up())

        assert sum(taken) + await one.webhooks.take_up() == 5
        await asyncio.to_thread(wait_until, lambda: len(receiver.received) == 5)
        assert await one.webhooks.take_up() == 0
