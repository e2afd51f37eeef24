"""The commands of webhooks, beside a server that carries out what they start."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.commands import Windlass
from tests.support.receiver import Receiver, Reply, receiving
from tests.support.service import Service, running_service
from tests.support.waiting import wait_until
from windlass import settings
from windlass.bootstrap import visit_application
from windlass.contexts.webhooks.api import Delivery

OPEN = {
    "WORKFLOWS_EGRESS_ALLOWED_PORTS": "any", "WORKFLOWS_EGRESS_BLOCK_PRIVATE": "false",
    "WORKFLOWS_WEBHOOK_DLQ_MAX_ATTEMPTS": "1",
}  # fmt: skip


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Somebody who wants to hear, later."""
    with receiving() as running:
        running.usual = Reply(503)
        yield running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server that may speak to this machine."""
    with running_service(tmp_path_factory.mktemp("webhooks"), environment=OPEN) as running:
        yield running


def queue(folder: Path, url: str, run_id: str | None = None) -> str:
    """Queue a webhook from a process that delivers none; returns the run that does."""

    async def start() -> str:
        async with visit_application(settings.load(database_url=f"sqlite:///{folder / 'workflow.db'}")) as visited:
            delivery = Delivery("w-1", url, '{"a": 1}', run_id=run_id)
            return await visited.engine.transact(lambda tx: visited.webhooks.queue_in(tx, delivery))

    return asyncio.run(start())


def wait_for(folder: Path, run_id: str) -> None:
    """Wait for the end of a run that the server carries out."""
    with closing(sqlite3.connect(folder / "workflow.db")) as database:
        query = "SELECT 1 FROM workflow_runs WHERE run_id = ? AND status = 'succeeded'"
        wait_until(lambda: database.execute(query, (run_id,)).fetchone(), timeout=60)


def test_dead_letters_are_looked_after(service: Service, receiver: Receiver) -> None:
    windlass = Windlass(service.folder, OPEN)
    runs = [queue(service.folder, f"{receiver.url}/{name}") for name in ("first", "second")]
    runs.append(queue(service.folder, f"{receiver.url}/third", runs[0]))
    for run_id in runs:
        wait_for(service.folder, run_id)

    letters = {letter["url"][-5:]: letter for letter in windlass("webhooks", "dlq", "list", "--json").json}
    assert letters.keys() == {"first", "econd", "third"}
    assert (letters["first"]["attempts"], letters["first"]["body"]) == (1, {"a": 1})
    [attempt] = windlass("webhooks", "deliveries", runs[0], "--json").json
    assert (attempt["status"], attempt["code"]) == ("failed", 503)

    receiver.usual = Reply()
    wait_for(service.folder, windlass("webhooks", "dlq", "replay", str(letters["first"]["id"])).out.strip())
    assert receiver.received[-1].path == "/first"
    assert windlass("webhooks", "dlq", "discard", str(letters["third"]["id"])).out == "1\n"
    many = windlass("webhooks", "dlq", "replay", "--host", "127.0.0.1", "--error", "http_503")
    assert many.err == "1 dead letters\n"
    wait_for(service.folder, many.out.strip())
    assert receiver.received[-1].path == "/second"
    assert windlass("webhooks", "dlq", "list").out.split()[0] == "id"
    assert windlass("webhooks", "dlq", "discard", "--all").out == "0\n"


@pytest.mark.parametrize(
    "action,words", [("replay", []), ("replay", ["1", "--tenant", "x"]), ("discard", ["--host", "x", "--all"])]
)
def test_it_has_to_be_said_which(tmp_path: Path, action: str, words: list[str]) -> None:
    refused = Windlass(tmp_path, {})("webhooks", "dlq", action, *words, code=2)

    assert "say which dead letters" in refused.err
