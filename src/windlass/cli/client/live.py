"""Asking runs that are open: through a server, or on the database itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from windlass.cli.client.http import HttpClient, open_http, segment
from windlass.cli.client.protocol import Row

if TYPE_CHECKING:
    from windlass.engine.engine import Engine


GRACE_SECONDS = 30.0


class LiveClient(Protocol):
    """What the commands ask for. A page of a stream is as the API answers it."""

    async def status(self, run_id: str) -> str:
        """Return where a run stands."""
        ...

    async def items(self, run_id: str, stream: str, offset: int, limit: int) -> Row:
        """Return a page of a stream."""
        ...

    async def published(self, run_id: str) -> Row:
        """Return what a run has published, by key."""
        ...

    async def update(self, run_id: str, order: Row) -> Any:
        """Send an update and return its answer.

        Raises:
            WindlassError: the run refuses it, has ended, or does not answer in time.
        """
        ...

    async def query(self, run_id: str, order: Row) -> Any:
        """Ask a run and return its answer.

        Raises:
            WindlassError: the run refuses it, has ended, or does not answer in time.
        """
        ...


class HttpLive:
    """See ``LiveClient``."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    async def status(self, run_id: str) -> str:
        """Return where a run stands."""
        return str((await self._client.get_run(run_id))["status"])

    async def items(self, run_id: str, stream: str, offset: int, limit: int) -> Row:
        """Return a page."""
        params = {"offset": offset, "limit": limit}
        page: Row = await self._client.call("GET", f"{_path(run_id)}/streams/{segment(stream)}", params=params)
        return page

    async def published(self, run_id: str) -> Row:
        """Return the values."""
        values: Row = (await self._client.call("GET", f"{_path(run_id)}/published"))["values"]
        return values

    async def update(self, run_id: str, order: Row) -> Any:
        """Send an update."""
        answer: Row = await self._client.call("POST", f"{_path(run_id)}/updates", json=order, timeout=_patience(order))
        if answer["state"] != "completed":
            from windlass.live.api import NoAnswer

            raise NoAnswer(f"update {answer['update_id']!r} has not been answered yet", update_id=answer["update_id"])
        return answer["answer"]

    async def query(self, run_id: str, order: Row) -> Any:
        """Ask."""
        path = f"{_path(run_id)}/queries"
        return (await self._client.call("POST", path, json=order, timeout=_patience(order)))["answer"]


class DirectLive:
    """See ``LiveClient``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def status(self, run_id: str) -> str:
        """Return where a run stands."""
        return (await self._engine.get_run(run_id)).status

    async def items(self, run_id: str, stream: str, offset: int, limit: int) -> Row:
        """Return a page."""
        await self._engine.get_run(run_id)
        page = await self._engine.live.items(run_id, stream, offset, limit)
        items = [
            {"offset": at, "value": value, "step_id": step, "attempt": attempt, "created_at": when}
            for at, value, step, attempt, when in page.items
        ]
        return {"items": items, "closed": page.closed}

    async def published(self, run_id: str) -> Row:
        """Return the values."""
        return await self._engine.handle(run_id).published()

    async def update(self, run_id: str, order: Row) -> Any:
        """Send an update."""
        return await self._engine.handle(run_id).update(
            order["name"], order["payload"], update_id=order.get("update_id"), timeout=order["timeout"]
        )

    async def query(self, run_id: str, order: Row) -> Any:
        """Ask."""
        return await self._engine.handle(run_id).query(order["name"], order["argument"], timeout=order["timeout"])


@asynccontextmanager
async def open_live(url: str | None, api_key: str | None) -> AsyncIterator[LiveClient]:
    """Open a client; see ``open.open_client``."""
    if url is not None:
        async with open_http(url, api_key) as client:
            yield HttpLive(client)
        return
    from windlass.cli.client.direct import open_direct

    async with open_direct(creates=False) as direct:
        yield DirectLive(direct.application.engine)


def _patience(order: Row) -> float:
    """Return how long to wait for a server that waits as long as it is told, in seconds."""
    return float(order["timeout"]) + GRACE_SECONDS


def _path(run_id: str) -> str:
    return f"/runs/{segment(run_id)}"
