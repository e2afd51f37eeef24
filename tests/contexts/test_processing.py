"""Processing: whoever is registered does it, once, and says in a few words why a record fails."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, Field

from tests.support.waiting import wait_until_async
from windlass import workflow
from windlass.bootstrap import Application, run_application
from windlass.contexts.records import processors as registered
from windlass.contexts.records.api import Accepted, Filter, Outcome, Processors, Record, Rejected
from windlass.engine.registry import Registry
from windlass.kernel.errors import ConfigError, Conflict
from windlass.settings import Settings


@asynccontextmanager
async def running_with(
    database_url: str, processors: Processors, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> AsyncIterator[Application]:
    """Run the application with these processors alone."""
    monkeypatch.setattr(registered, "declared", processors)
    async with run_application(Settings(database_url=database_url, lease_seconds=5.0, **settings)) as application:
        yield application


async def outcome(application: Application, category: str, payload: object) -> Record:
    """Store a record and process it."""
    body = orjson.dumps({"source": "test", "category": category, "payload": payload})
    made = await application.records.create(body)
    done = await application.records.process(made.id)
    assert isinstance(done, Record)
    return done


class Order(BaseModel):
    """A payload."""

    number: int = Field(strict=True)
    lines: list[dict[str, int]]


async def test_functions_of_every_kind_process(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def plain(payload: dict[str, Any]) -> Outcome:
        threads.append(threading.current_thread().name)
        return Outcome("plain", 1.25, {"seen": payload})

    async def awaited(payload: Order, category: str) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"classification": category, "score": payload.number, "lines": len(payload.lines)}

    def silent(_payload: dict[str, Any]) -> None:
        return None

    known = Processors()
    known.add("plain", plain)
    known.add("awaited", awaited)
    known.add("*", silent)
    async with running_with(database_url, known, monkeypatch) as application:
        first = await outcome(application, "plain", {"x": 1})
        second = await outcome(application, "awaited", {"number": 7, "lines": [{"a": 1}]})
        third = await outcome(application, "whatever", {})

    assert (first.status, first.classification, first.score) == ("processed", "plain", 1.25)
    assert orjson.loads(first.result or "") == {"seen": {"x": 1}}
    assert threads[0].startswith("windlass-step")
    assert (second.classification, second.score) == ("awaited", 7)
    assert orjson.loads(second.result or "")["lines"] == 1
    assert (third.status, third.classification, third.score, third.result) == ("processed", None, None, None)


async def test_a_workflow_processes(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    @workflow(name="test.review", registry=Registry())
    async def review(payload: dict[str, Any]) -> dict[str, Any]:
        if "fail" in payload:
            raise Rejected("not today")
        return {"classification": "reviewed", "score": 0.1 + 0.2}

    known = Processors()
    known.add("review", review)
    async with running_with(database_url, known, monkeypatch) as application:
        good = await outcome(application, "review", {})
        bad = await outcome(application, "review", {"fail": True})
        children = await application.engine.list_runs()

    assert (good.status, good.classification, good.score) == ("processed", "reviewed", 0.1 + 0.2)
    assert (bad.status, bad.error) == ("failed", "processing failed: Rejected")
    assert {run.name for run in children} == {"records.process", "test.review"}


async def test_failures_are_told_in_a_few_words(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def rejects(_payload: dict[str, Any]) -> None:
        raise Rejected("no\n maintainer\0 " + "x" * 500)

    def raises(_payload: dict[str, Any]) -> None:
        raise ZeroDivisionError("a secret")

    async def talks_nonsense(_payload: dict[str, Any]) -> int:
        return 7

    def unkeepable(_payload: dict[str, Any]) -> dict[str, Any]:
        return {"x": object()}

    def endless(_payload: dict[str, Any]) -> Outcome:
        return Outcome(score=float("inf"))

    known = Processors()
    for work in (rejects, raises, talks_nonsense, unkeepable, endless):
        known.add(work.__name__, work)
    known.add("strict", lambda_with_schema)
    async with running_with(database_url, known, monkeypatch) as application:
        errors = {name: (await outcome(application, name, {"number": "7"})).error for name in known.known}
        record = await outcome(application, "raises", {})
        events = await application.engine.events(str(record.run_id))

    assert errors["rejects"] == ("no maintainer " + "x" * 500)[:300]
    assert errors["raises"] == "processing failed: ZeroDivisionError"
    assert errors["talks_nonsense"] == "processing failed: BadOutcome"
    assert errors["unkeepable"] == "processing failed: NotSerializable"
    assert errors["endless"] == "processing failed: BadOutcome"
    assert errors["strict"] == (
        "classification failed: invalid payload format: number: Input should be a valid integer"
    )
    assert any("a secret" in event.payload for event in events)


def lambda_with_schema(payload: Order) -> None:
    """Never gets that far."""


async def test_attempts_are_made_again_as_registered(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    async def flaky(_payload: dict[str, Any]) -> Outcome:
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError("away")
        return Outcome("fine")

    known = Processors()
    known.add("flaky", flaky, retries=2)
    async with running_with(database_url, known, monkeypatch) as application:
        done = await outcome(application, "flaky", {})

    assert (done.status, done.classification, len(calls)) == ("processed", "fine", 2)


async def test_a_cause_that_is_gone_lets_a_retry_succeed(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = True

    def work(_payload: dict[str, Any]) -> Outcome:
        if broken:
            raise Rejected("broken")
        return Outcome("fixed", 3)

    known = Processors()
    known.add("c", work)
    async with running_with(database_url, known, monkeypatch) as application:
        failed = await outcome(application, "c", {})
        broken = False
        with pytest.raises(Conflict, match="record is not pending"):
            await application.records.process(failed.id)
        fixed = await application.records.retry(failed.id)

    assert failed.error == "broken"
    assert isinstance(fixed, Record)
    assert (fixed.status, fixed.classification, fixed.score, fixed.error) == ("processed", "fixed", 3, None)


async def test_a_slow_processor_is_waited_for_so_long_and_no_longer(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()

    async def slow(_payload: dict[str, Any]) -> Outcome:
        await gate.wait()
        return Outcome("late")

    known = Processors()
    known.add("slow", slow)
    async with running_with(database_url, known, monkeypatch, process_wait_seconds=0.05) as application:
        made = await application.records.create(b'{"source":"s","category":"slow","payload":{}}')
        accepted = await application.records.process(made.id)
        assert isinstance(accepted, Accepted)
        with pytest.raises(Conflict):
            await application.records.process(made.id)
        gate.set()
        await application.engine.result(accepted.run_id, timeout=30)
        found = await application.records.get(made.id)

    assert (found.status, found.classification, found.run_id) == ("processed", "late", accepted.run_id)


async def test_work_goes_on_after_a_restart(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, calls = asyncio.Event(), []

    async def work(payload: dict[str, Any]) -> Outcome:
        calls.append(payload["n"])
        if payload["n"] % 2:
            await gate.wait()
        return Outcome("done")

    known = Processors()
    known.add("c", work)
    settings = {"process_wait_seconds": 0.05}
    monkeypatch.setattr("windlass.bootstrap.STOP_SECONDS", 0.1)
    async with running_with(database_url, known, monkeypatch, **settings) as application:
        for number in range(20):
            await application.records.create(orjson.dumps({"source": "s", "category": "c", "payload": {"n": number}}))
        many = await application.records.process_many(Filter())
        await wait_until_async(lambda: len(calls) == 20, what="the start of all")
    gate.set()
    async with running_with(database_url, known, monkeypatch, **settings) as application:
        result = await application.engine.result(many.run_id, timeout=60)
        found = [record async for page in application.records.export(Filter()) for record in page]

    assert result == {"processed": 20, "failed": 0, "skipped": 0}
    assert {(record.status, record.attempts) for record in found} == {("processed", 1)}


async def test_what_a_cancelled_run_left_can_be_processed(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = asyncio.Event()

    async def work(_payload: dict[str, Any]) -> Outcome:
        await gate.wait()
        return Outcome("done")

    known = Processors()
    known.add("c", work)
    async with running_with(database_url, known, monkeypatch, process_wait_seconds=0.05) as application:
        made = await application.records.create(b'{"source":"s","category":"c","payload":{}}')
        many = await application.records.process_many(Filter())

        async def claimed() -> bool:
            return (await application.records.get(made.id)).run_id is not None

        await wait_until_async(claimed, what="the claim")
        with pytest.raises(Conflict):
            await application.records.process(made.id)
        await application.engine.control(many.run_id, "cancel")

        async def cancelled() -> bool:
            return (await application.engine.get_run(many.run_id)).status == "cancelled"

        await wait_until_async(cancelled, what="the end of the run")
        gate.set()
        again = await application.records.process(made.id)
        if isinstance(again, Accepted):
            await application.engine.result(again.run_id, timeout=30)
        found = await application.records.get(made.id)

    assert (found.status, found.attempts) == ("processed", 2)


def test_a_category_has_one_processor() -> None:
    known = Processors()
    known.add("c", lambda_with_schema)
    known.add("c", lambda_with_schema)

    with pytest.raises(ConfigError, match=r"two processors .* 'c'"):
        known.add("c", lambda _payload: None)
    with pytest.raises(TypeError, match="takes the payload"):
        known.add("d", lambda: None)


def test_modules_named_in_the_settings_register(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_processors.py").write_text(
        "from windlass.contexts.records.api import processor\n"
        "@processor('mine')\n"
        "def work(payload): return {'classification': 'mine'}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registered, "declared", Processors())

    found = registered.load(("my_processors",))

    assert set(found.known) == {"mine"}
    with pytest.raises(ConfigError, match="module 'no_such_module' cannot be imported"):
        registered.load(("no_such_module",))


def test_entry_points_register(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        """An installed entry point."""

        name = "orders"

        def load(self) -> Any:
            """Return what it names."""
            return lambda_with_schema

    monkeypatch.setattr(registered, "_installed", lambda: [Point()])
    monkeypatch.setattr(registered, "declared", Processors())

    assert registered.load().find("orders").schema is Order
