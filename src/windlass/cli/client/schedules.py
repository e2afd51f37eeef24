"""Asking for schedules: a server, or the database itself. Schedules are dictionaries as the API answers them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from windlass.cli.client.http import HttpClient, open_http, segment
from windlass.cli.client.protocol import Row

AT = "/api/v1/scheduler/workflows"


class ScheduleClient(Protocol):
    """What the commands of ``windlass schedules`` ask for."""

    async def list_schedules(self, owner: str | None, limit: int, offset: int) -> list[Row]:
        """Return schedules, newest first: one's own, an owner's, or everybody's (``*``)."""
        ...

    async def get(self, schedule_id: str) -> Row:
        """Return a schedule."""
        ...

    async def create(self, draft: Row) -> Row:
        """Make a schedule; returns its ``id`` and whether anything is ``firing``."""
        ...

    async def change(self, schedule_id: str, changes: Row) -> None:
        """Change a schedule."""
        ...

    async def delete(self, schedule_id: str) -> bool:
        """Delete a schedule; False when there is none."""
        ...

    async def run_now(self, schedule_id: str) -> str:
        """Start the target at once; returns the run's id."""
        ...

    async def preview(self, trial: Row) -> Row:
        """Say when a crontab line fires next."""
        ...

    async def backfill(self, schedule_id: str, window: Row) -> Row:
        """Make up for a past window; returns ``run_id`` and ``slots``."""
        ...

    async def fires(self, schedule_id: str, limit: int) -> list[Row]:
        """Return what became of slots, newest first."""
        ...


class HttpSchedules:
    """See ``ScheduleClient``."""

    def __init__(self, client: HttpClient) -> None:
        self._call = client.call

    async def list_schedules(self, owner: str | None, limit: int, offset: int) -> list[Row]:
        """Return schedules."""
        params: dict[str, Any] = {"limit": limit, "offset": offset} | ({} if owner is None else {"owner": owner})
        found: list[Row] = await self._call("GET", AT, params=params)
        return found

    async def get(self, schedule_id: str) -> Row:
        """Return a schedule."""
        found: Row = await self._call("GET", f"{AT}/{segment(schedule_id)}")
        return found

    async def create(self, draft: Row) -> Row:
        """Make a schedule."""
        made: Row = await self._call("POST", AT, json=draft)
        return made

    async def change(self, schedule_id: str, changes: Row) -> None:
        """Change a schedule."""
        await self._call("PATCH", f"{AT}/{segment(schedule_id)}", json=changes)

    async def delete(self, schedule_id: str) -> bool:
        """Delete a schedule."""
        return bool((await self._call("DELETE", f"{AT}/{segment(schedule_id)}"))["ok"])

    async def run_now(self, schedule_id: str) -> str:
        """Start the target."""
        return str((await self._call("POST", f"{AT}/{segment(schedule_id)}/run-now"))["run_id"])

    async def preview(self, trial: Row) -> Row:
        """Try a crontab line."""
        found: Row = await self._call("POST", f"{AT}/dry-run", json=trial)
        return found

    async def backfill(self, schedule_id: str, window: Row) -> Row:
        """Make up for a window."""
        begun: Row = await self._call("POST", f"{AT}/{segment(schedule_id)}/backfill", json=window)
        return begun

    async def fires(self, schedule_id: str, limit: int) -> list[Row]:
        """Return what became of slots."""
        page = await self._call("GET", f"{AT}/{segment(schedule_id)}/fires", params={"limit": limit})
        items: list[Row] = page["items"]
        return items


@asynccontextmanager
async def open_schedules(
    url: str | None, api_key: str | None, *, creates: bool = False
) -> AsyncIterator[ScheduleClient]:
    """Open a client.

    Args:
        url: the server's address, or None for the database of DATABASE_URL.
        api_key: the server's key.
        creates: whether a SQLite file that is not there is made.
    """
    if url is not None:
        async with open_http(url, api_key) as client:
            yield HttpSchedules(client)
        return
    from windlass.cli.client.direct_schedules import DirectSchedules, open_direct

    async with open_direct(creates=creates) as direct:
        yield DirectSchedules(direct.application.schedules)
