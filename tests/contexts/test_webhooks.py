"""Webhooks: delivered once they are heard, signed anew each time, through failures, refusals and crashes."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from tests.support.ports import free_port
from tests.support.receiver import Received, Receiver, Reply, receiving
from tests.support.waiting import wait_until, wait_until_async
from windlass import Fatal, signal, step, workflow
from windlass import bootstrap as root
from windlass.bootstrap import Application, run_application
from windlass.contexts.webhooks import model
from windlass.contexts.webhooks.api import COMPLETE, Completion, Delivery, signature
from windlass.contexts.webhooks.tables import workflow_webhook_deliveries, workflow_webhook_dlq
from windlass.engine.starting import Start
from windlass.engine.types import RunFilter
from windlass.kernel.actors import DEVELOPER
from windlass.settings import Settings

SECRET = "s3cret"


@workflow(name="tests.webhooks.short")
async def short() -> str:
    return "done"


@step
async def fails() -> None:
    raise Fatal("no")


@workflow(name="tests.webhooks.failing")
async def failing() -> None:
    await fails()


@workflow(name="tests.webhooks.long")
async def long() -> None:
    await signal("never")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Somebody who wants to hear."""
    with receiving() as running:
        yield running


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "LEAST_PAUSE", 0.0)


@asynccontextmanager
async def telling(database_url: str, url: str, **settings: Any) -> AsyncIterator[Application]:
    """Run the application; the ends of runs are told to ``url``."""
    usual: dict[str, Any] = {
        "lease_seconds": 5.0, "workflows_egress_allowed_ports": ("*",), "workflows_egress_block_private": False,
        "workflows_webhook_secret": SECRET, "workflows_webhook_dlq_base_sec": 0.001, "workflows_webhook_timeout": 5.0,
    }  # fmt: skip
    async with run_application(Settings(database_url=database_url, **{**usual, **settings})) as application:

        async def describe(run_id: str) -> Completion | None:
            view = await application.engine.get_run(run_id)
            return Completion(
                url, run_id, view.status, view.tenant_id, 7, "demo", 2, "u1", view.started_at, view.ended_at, 12,
                None if view.error is None else view.error["message"], {"said": view.outputs} if view.outputs else None,
            )  # fmt: skip

        application.webhooks.describe_ends(describe)
        yield application


async def start(application: Application, wanted: Any, **more: Any) -> str:
    """Start a run whose end is told."""
    engine = application.engine
    return (await engine.begin(engine.request(Start(wanted, on_end=COMPLETE, **more)))).run_id


async def told(application: Application, run_id: str) -> dict[str, Any]:
    """Wait for the run that tells of another's end and return what it came to."""
    found: dict[str, Any] = await application.engine.result(await teller(application, run_id), timeout=30)
    return found


async def teller(application: Application, run_id: str) -> str:
    """Return the run that tells of another's end."""

    async def find() -> str | None:
        runs = await application.engine.list_runs(RunFilter(name=COMPLETE))
        return next((run.run_id for run in runs if run.run_id.startswith(run_id)), None)

    found = await wait_until_async(find)
    assert found is not None
    return found


async def notes(application: Application, run_id: str) -> list[dict[str, Any]]:
    """Return what the run's journal says of deliveries."""
    events = await application.engine.events(run_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return [orjson.loads(event.payload) for event in events if event.type == "webhook_delivery"]


async def rows(application: Application, table: sa.Table) -> list[dict[str, Any]]:
    """Return a table's rows."""
    return await application.engine.read(
        lambda connection: [dict(row) for row in connection.execute(sa.select(table).order_by(table.c.id)).mappings()]
    )


def verified(received: Received, secret: str = SECRET, header: str = "x-workflows-signature") -> bool:
    """Check a signature as a receiver does."""
    signed = received.headers["x-signature-timestamp"].encode() + b"." + received.body
    return received.headers[header] == hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


async def test_the_end_of_a_run_is_told_exactly_so(database_url: str, receiver: Receiver) -> None:
    async with telling(database_url, f"{receiver.url}/hook") as application:
        run_id = await start(application, short, tenant_id="acme")
        outcome = await told(application, run_id)
        view = await application.engine.get_run(run_id)

        [got] = receiver.received
        assert (got.method, got.path, got.headers["content-type"]) == ("POST", "/hook", "application/json")
        run = {
            "id": run_id, "status": "succeeded", "user_id": "u1", "started_at": view.started_at,
            "ended_at": view.ended_at, "duration_ms": 12, "error": None,
        }  # fmt: skip
        workflow_ = {"id": 7, "name": "demo", "version": 2}
        assert got.json == {"workflow": workflow_, "run": run, "result": {"outputs": {"said": "done"}}}
        assert got.body.startswith(b'{"workflow": {"id": 7, "name": "demo", "version": 2}, "run": {"id": ')
        assert (got.headers["x-workflow-id"], got.headers["x-run-id"]) == ("7", run_id)
        assert got.headers["x-webhook-id"].startswith(f"wf-{run_id}-")
        assert got.headers["x-workflows-signature-version"] == "v1"
        assert verified(got)
        assert got.headers["x-hub-signature-256"] == "sha256=" + got.headers["x-workflows-signature"]
        assert outcome == {"webhook_id": got.headers["x-webhook-id"], "status": "delivered", "attempts": 1}
        assert await notes(application, run_id) == [
            {"host": "127.0.0.1", "status": "delivered", "code": 200, "attempt": 1, "webhook_id": outcome["webhook_id"]}
        ]
        [row] = await rows(application, workflow_webhook_deliveries)
        assert (row["tenant_id"], row["run_id"], row["event_seq"], row["code"]) == (
            "acme",
            run_id,
            view.last_seq,
            200,
        )
        assert await rows(application, workflow_webhook_dlq) == []


async def test_whoever_fails_is_told_again_until_it_has_heard(database_url: str, receiver: Receiver) -> None:
    receiver.replies = [Reply(500), Reply(404), Reply(302, {"Location": "/x"}), Reply(cut=True), Reply(204, body=b"")]
    async with telling(database_url, receiver.url) as application:
        run_id = await start(application, short)
        assert (await told(application, run_id))["attempts"] == 5

        assert len({got.headers["x-webhook-id"] for got in receiver.received}) == 1
        assert len({got.body for got in receiver.received}) == 1
        assert all(verified(got) for got in receiver.received)
        told_of = [(note["status"], note.get("code"), note.get("reason")) for note in await notes(application, run_id)]
        assert told_of == [
            ("failed", 500, "http_500"), ("failed", 404, "http_404"), ("failed", 302, "http_302"),
            ("failed", None, "network_error"), ("delivered", 204, None),
        ]  # fmt: skip


async def test_each_attempt_is_signed_with_its_own_time(database_url: str, receiver: Receiver) -> None:
    receiver.replies = [Reply(503)]
    async with telling(database_url, receiver.url, workflows_webhook_dlq_base_sec=0.6) as application:
        await told(application, await start(application, short))

    first, second = receiver.received
    assert first.headers["x-signature-timestamp"] < second.headers["x-signature-timestamp"]
    assert first.headers["x-workflows-signature"] != second.headers["x-workflows-signature"]
    assert verified(first)
    assert verified(second)


async def test_after_so_many_attempts_it_is_a_dead_letter(database_url: str, receiver: Receiver) -> None:
    receiver.usual = Reply(503)
    async with telling(database_url, receiver.url, workflows_webhook_dlq_max_attempts=3) as application:
        run_id = await start(application, failing)
        outcome = await told(application, run_id)

        assert (outcome["status"], outcome["attempts"], len(receiver.received)) == ("failed", 3, 3)
        [letter] = await rows(application, workflow_webhook_dlq)
        assert (letter["run_id"], letter["url"], letter["attempts"]) == (run_id, receiver.url, 3)
        assert letter["body_json"].encode() == receiver.received[0].body
        assert letter["webhook_id"] == receiver.received[0].headers["x-webhook-id"]
        assert letter["last_error"].startswith("max_attempts_exceeded:3")
        assert [note["attempt"] for note in await notes(application, run_id)] == [1, 2, 3]


async def test_who_is_not_there_or_silent_is_told_again(database_url: str, receiver: Receiver) -> None:
    receiver.usual = Reply(hang=True)
    more = {"workflows_webhook_dlq_max_attempts": 2, "workflows_webhook_timeout": 0.2}
    async with telling(database_url, f"http://127.0.0.1:{free_port()}/", **more) as application:
        run_id = await start(application, short)
        await told(application, run_id)
        silent = application.webhooks
        run = await application.engine.transact(lambda tx: silent.queue_in(tx, Delivery("w-1", receiver.url, "{}")))
        await application.engine.result(run, timeout=30)

        assert [note["reason"] for note in await notes(application, run_id)] == ["network_error", "network_error"]
        [gone, slow] = await rows(application, workflow_webhook_dlq)
        assert (gone["reason"], slow["reason"]) == ("network_error", "timeout")
        assert slow["run_id"] is None


@pytest.mark.parametrize(
    "more",
    [
        {"workflows_egress_block_private": True},
        {"workflows_webhook_denylist": ("127.0.0.1",)},
        {"workflows_webhook_allowlist": ("example.com",), "egress_allowlist": ("127.0.0.1",)},
        {"workflows_tenant_lists": {"WORKFLOWS_WEBHOOK_DENYLIST_ACME": ("127.0.0.1",)}},
        {"workflows_egress_allowed_ports": ("80",)},
        {"environment": "Production", "allow_open_writes": True, "jwt_secret_key": "k" * 32},
    ],
)
async def test_what_the_policy_refuses_is_blocked_at_once(
    database_url: str, receiver: Receiver, more: dict[str, Any]
) -> None:
    async with telling(database_url, receiver.url, **more) as application:
        run_id = await start(application, short, tenant_id="acme")

        assert (await told(application, run_id))["status"] == "blocked"
        [note] = await notes(application, run_id)
        assert (note["status"], note["host"], note["reason"]) == ("blocked", "127.0.0.1", "denied_by_policy")
        assert await rows(application, workflow_webhook_dlq) == []
    assert receiver.received == []


async def test_every_kind_of_end_is_told(database_url: str, receiver: Receiver) -> None:
    async with telling(database_url, receiver.url) as application:
        failed, parked = await start(application, failing), await start(application, long)
        await told(application, failed)
        await application.engine.control(parked, "cancel")
        await told(application, parked)

    said = {got.json["run"]["id"]: got.json for got in receiver.received}
    assert (said[failed]["run"]["status"], said[parked]["run"]["status"]) == ("failed", "cancelled")
    assert "result" not in said[failed]
    assert said[parked]["run"]["error"]


async def test_a_run_that_ends_twice_is_told_twice_under_two_ids(database_url: str, receiver: Receiver) -> None:
    async with telling(database_url, receiver.url) as application:
        run_id = await start(application, failing)
        await told(application, run_id)
        await application.engine.control(run_id, "retry")
        await wait_until_async(lambda: len(receiver.received) == 2)

    assert len({got.headers["x-webhook-id"] for got in receiver.received}) == 2


async def test_nobody_is_told_where_that_is_switched_off(database_url: str, receiver: Receiver) -> None:
    async with telling(database_url, receiver.url, workflows_disable_completion_webhooks=True) as application:
        assert (await told(application, await start(application, short)))["status"] == "not_wanted"
    assert receiver.received == []


async def test_two_live_secrets_and_those_of_a_tenant(database_url: str, receiver: Receiver) -> None:
    secrets = {
        "workflows_webhook_secret": "new,old",
        "workflows_webhook_tenant_secrets": {"WORKFLOWS_WEBHOOK_SECRET_ACME": "own"},
    }  # fmt: skip
    async with telling(database_url, receiver.url, **secrets) as application:
        await told(application, await start(application, short))
        await told(application, await start(application, short, tenant_id="acme"))

    shared, own = receiver.received
    assert verified(shared, "new")
    assert verified(shared, "old", "x-workflows-signature-previous")
    assert verified(own, "own")
    assert "x-workflows-signature-previous" not in own.headers


async def test_standard_webhooks_by_choice(database_url: str, receiver: Receiver) -> None:
    async with telling(database_url, receiver.url, workflows_webhook_scheme="standard") as application:
        await told(application, await start(application, short))

    [got] = receiver.received
    assert got.headers["webhook-signature"].startswith("v1,")
    assert "x-workflows-signature" not in got.headers


async def test_a_webhook_is_queued_with_its_transaction_or_not_at_all(database_url: str, receiver: Receiver) -> None:
    async with telling(database_url, receiver.url) as application:
        webhooks, engine = application.webhooks, application.engine
        one, two = (Delivery(name, receiver.url, '{"a": 1}', headers={"X-Mine": "1"}) for name in ("one", "two"))

        def fail(tx: Any) -> None:
            webhooks.queue_in(tx, one)
            raise RuntimeError("taken back")

        with pytest.raises(RuntimeError):
            await engine.transact(fail)
        await engine.result(await engine.transact(lambda tx: webhooks.queue_in(tx, two)), timeout=30)

    [got] = receiver.received
    assert (got.headers["x-webhook-id"], got.headers["x-mine"], got.body) == ("two", "1", b'{"a": 1}')
    assert got.headers["x-workflows-signature"] == signature(
        SECRET, int(got.headers["x-signature-timestamp"]), got.body
    )


async def test_a_process_that_ends_in_an_attempt_leaves_it_to_the_next(
    database_url: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(root, "STOP_SECONDS", 0.01)
    receiver.replies = [Reply(hang=True)]
    async with telling(database_url, receiver.url, workflows_webhook_timeout=60.0) as first:
        run_id = await start(first, short)
        await asyncio.to_thread(wait_until, lambda: len(receiver.received) == 1)
    async with telling(database_url, receiver.url) as second:
        assert (await told(second, run_id))["status"] == "delivered"

        assert [note["status"] for note in await notes(second, run_id)] == ["delivered"]
    assert len({got.headers["x-webhook-id"] for got in receiver.received}) == 1
    assert len(receiver.received) == 2


async def test_a_process_that_ends_between_attempts_leaves_them_to_the_next(
    database_url: str, receiver: Receiver
) -> None:
    receiver.replies = [Reply(503)]
    async with telling(database_url, receiver.url, workflows_webhook_dlq_base_sec=1.0) as first:
        run_id = await start(first, short)
        await wait_until_async(lambda: len(receiver.received) == 1)
        run = await teller(first, run_id)

        async def sleeps() -> bool:
            return (await first.engine.get_run(run)).wait_reason == "timer"

        await wait_until_async(sleeps)
    # Fewer attempts are allowed now; what was decided before stays.
    async with telling(database_url, receiver.url, workflows_webhook_dlq_max_attempts=1) as second:
        assert await told(second, run_id) == {
            "webhook_id": receiver.received[0].headers["x-webhook-id"], "status": "delivered", "attempts": 2,
        }  # fmt: skip


async def test_the_history_of_a_run_is_paged_and_goes_with_it(database_url: str, receiver: Receiver) -> None:
    receiver.replies = [Reply(500), Reply(500)]
    async with telling(database_url, receiver.url) as application:
        run_id = await start(application, short)
        await told(application, run_id)
        webhooks = application.webhooks
        first = await webhooks.deliveries(DEVELOPER, run_id, limit=2)
        rest = await webhooks.deliveries(DEVELOPER, run_id, after=first[-1]["id"], limit=2)

        assert [row["status"] for row in [*first, *rest]] == ["failed", "failed", "delivered"]
        assert rest[0]["event_seq"] == first[1]["event_seq"] + 1
        assert first[0]["created_at"].endswith("Z")
        await application.engine.transact(
            lambda tx: tx.execute("DELETE FROM workflow_runs WHERE run_id = :id", {"id": run_id}) and None
        )
        assert await rows(application, workflow_webhook_deliveries) == []


async def test_a_run_that_is_deleted_meanwhile_is_told_all_the_same(database_url: str, receiver: Receiver) -> None:
    async with telling(database_url, receiver.url) as application:
        delivery = Delivery("w", receiver.url, "{}", run_id="gone")
        engine = application.engine
        await engine.result(await engine.transact(lambda tx: application.webhooks.queue_in(tx, delivery)), timeout=30)

        [row] = await rows(application, workflow_webhook_deliveries)
        assert (row["run_id"], row["event_seq"], row["status"]) == ("gone", None, "delivered")
