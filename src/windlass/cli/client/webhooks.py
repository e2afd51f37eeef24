"""Asking for webhooks, at a server or the database itself: dictionaries as the API has them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Protocol

from windlass import settings
from windlass.bootstrap import visit_application
from windlass.cli.client.http import WORKFLOWS, HttpClient, open_http, segment
from windlass.cli.client.operators import operator
from windlass.cli.client.protocol import Row
from windlass.contexts.webhooks.api import Wanted, Webhooks

DLQ = f"{WORKFLOWS}/webhooks/dlq"
PAGE = 500


class WebhookClient(Protocol):
    """What the commands of ``windlass webhooks`` ask for."""

    async def deliveries(self, run_id: str, limit: int) -> list[Row]:
        """Return the attempts to tell of a run."""
        ...

    async def letters(self, wanted: Wanted, limit: int) -> list[Row]:
        """Return dead letters, oldest first."""
        ...

    async def replay(self, dlq_id: int) -> Row:
        """Send a dead letter again; returns the ``run_id`` that does, or the ``answer`` where it has been sent."""
        ...

    async def replay_many(self, wanted: Wanted) -> Row:
        """Send dead letters again; returns ``run_id`` and how many ``matched``."""
        ...

    async def discard(self, dlq_id: int) -> None:
        """Throw a dead letter away."""
        ...

    async def discard_many(self, wanted: Wanted) -> int:
        """Throw dead letters away; returns how many."""
        ...


class HttpWebhooks:
    """See ``WebhookClient``."""

    def __init__(self, client: HttpClient) -> None:
        self._call = client.call

    async def deliveries(self, run_id: str, limit: int) -> list[Row]:
        """Return attempts."""
        return await self._pages(f"{WORKFLOWS}/runs/{segment(run_id)}/webhooks/deliveries", "deliveries", {}, limit)

    async def letters(self, wanted: Wanted, limit: int) -> list[Row]:
        """Return dead letters."""
        return await self._pages(DLQ, "items", _said(wanted), limit)

    async def replay(self, dlq_id: int) -> Row:
        """Send one again."""
        found: Row = await self._call("POST", f"{DLQ}/{dlq_id}/replay")
        return found if "run_id" in found else {"answer": found}

    async def replay_many(self, wanted: Wanted) -> Row:
        """Send many again."""
        found: Row = await self._call("POST", f"{DLQ}/replay", json=_said(wanted) or {"all": True})
        return found

    async def discard(self, dlq_id: int) -> None:
        """Throw one away."""
        await self._call("DELETE", f"{DLQ}/{dlq_id}")

    async def discard_many(self, wanted: Wanted) -> int:
        """Throw many away."""
        return int((await self._call("POST", f"{DLQ}/discard", json=_said(wanted) or {"all": True}))["discarded"])

    async def _pages(self, path: str, name: str, wanted: Row, limit: int) -> list[Row]:
        found: list[Row] = []
        params: dict[str, Any] = dict(wanted)
        while len(found) < limit:
            params["limit"] = min(limit - len(found), PAGE)
            page = await self._call("GET", path, params=params)
            found += page[name]
            if page["next_cursor"] is None:
                break
            params["cursor"] = page["next_cursor"]
        return found


class DirectWebhooks:
    """See ``WebhookClient``."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    async def deliveries(self, run_id: str, limit: int) -> list[Row]:
        """Return attempts."""
        return await self._webhooks.deliveries(operator(), run_id, limit=limit)

    async def letters(self, wanted: Wanted, limit: int) -> list[Row]:
        """Return dead letters."""
        found: list[Row] = []
        while len(found) < limit:
            size = min(PAGE, limit - len(found))
            page = await self._webhooks.letters(operator(), wanted, after=found[-1]["id"] if found else 0, limit=size)
            found += page
            if len(page) < size:
                break
        return found

    async def replay(self, dlq_id: int) -> Row:
        """Send one again."""
        return {"run_id": (await self._webhooks.replay(operator(), dlq_id, wait=False)).run_id}

    async def replay_many(self, wanted: Wanted) -> Row:
        """Send many again."""
        return (await self._webhooks.replay_many(operator(), wanted))._asdict()

    async def discard(self, dlq_id: int) -> None:
        """Throw one away."""
        await self._webhooks.discard(operator(), dlq_id)

    async def discard_many(self, wanted: Wanted) -> int:
        """Throw many away."""
        return await self._webhooks.discard_many(operator(), wanted)


def _said(wanted: Wanted) -> Row:
    return {name: value for name, value in asdict(wanted).items() if value is not None}


@asynccontextmanager
async def open_webhooks(url: str | None, api_key: str | None) -> AsyncIterator[WebhookClient]:
    """Open a client of the server at ``url``, or without one of the database in DATABASE_URL."""
    if url is not None:
        async with open_http(url, api_key) as client:
            yield HttpWebhooks(client)
        return
    found = settings.load().model_copy(update={"app_modules": ()})
    if found.auto_migrate is None:
        found = found.model_copy(update={"auto_migrate": False})
    async with visit_application(found) as application:
        yield DirectWebhooks(application.webhooks)
