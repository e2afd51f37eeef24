"""Answering the commands of schedules in this process, on the database itself."""

from __future__ import annotations

from windlass.cli.client.direct import open_direct
from windlass.cli.client.protocol import Row
from windlass.contexts.schedules.api import Schedules
from windlass.kernel.actors import DEVELOPER

__all__ = ["DirectSchedules", "open_direct"]


class DirectSchedules:
    """See ``schedules.ScheduleClient``; who may open the database may do everything, as a server without a key lets."""

    def __init__(self, schedules: Schedules) -> None:
        self._schedules = schedules

    async def list_schedules(self, owner: str | None, limit: int, offset: int) -> list[Row]:
        """Return schedules."""
        return await self._schedules.page(DEVELOPER, owner, limit, offset)

    async def get(self, schedule_id: str) -> Row:
        """Return a schedule."""
        return await self._schedules.get(DEVELOPER, schedule_id)

    async def create(self, draft: Row) -> Row:
        """Make a schedule."""
        made, firing = await self._schedules.create(DEVELOPER, draft)
        return {"id": made.id, "firing": firing}

    async def change(self, schedule_id: str, changes: Row) -> None:
        """Change a schedule."""
        await self._schedules.change(DEVELOPER, schedule_id, changes)

    async def delete(self, schedule_id: str) -> bool:
        """Delete a schedule."""
        return await self._schedules.delete(DEVELOPER, schedule_id)

    async def run_now(self, schedule_id: str) -> str:
        """Start the target."""
        return await self._schedules.run_now(DEVELOPER, schedule_id)

    async def preview(self, trial: Row) -> Row:
        """Try a crontab line."""
        return self._schedules.preview(trial)

    async def backfill(self, schedule_id: str, window: Row) -> Row:
        """Make up for a window."""
        run_id, slots = await self._schedules.backfill(DEVELOPER, schedule_id, window)
        return {"run_id": run_id, "slots": slots}

    async def fires(self, schedule_id: str, limit: int) -> list[Row]:
        """Return what became of slots."""
        found, _ = await self._schedules.fires(DEVELOPER, schedule_id, limit, None)
        return found
