"""Schedules in a test: what fires is the product's own code, in a process of its own beside the test's engine.

The store in memory keeps runs in dicts. Schedules ask for two things about them in SQL, which two views answer.
"""

from __future__ import annotations

from typing import Any

import orjson
import sqlalchemy as sa

from windlass.contexts.schedules.api import Options, PythonTarget, Schedules, Targets
from windlass.engine.engine import Engine
from windlass.engine.types import TERMINAL
from windlass.kernel.actors import DEVELOPER
from windlass.storage.memory.store import MemoryStore
from windlass.storage.schema import metadata

PAGE = 200
_TABLES = ("workflow_schedules", "workflow_schedule_fires")
_VIEWS = (
    "CREATE VIEW workflow_runs AS SELECT value AS run_id, 'running' AS status FROM json_each(windlass_open_runs())",
    "CREATE VIEW workflow_leases AS SELECT windlass_codes() AS workflows, 'live' AS state",
)


class TestSchedule:
    """A schedule of a test; ``id`` is what the runs it starts have as their attribute ``schedule_id``."""

    __test__ = False

    def __init__(self, schedules: Schedules, schedule_id: str) -> None:
        self._schedules = schedules
        self.id = schedule_id

    async def view(self) -> dict[str, Any]:
        """Return it as the API shows it: ``next_run_at``, ``last_status`` and what was said when it was made."""
        return await self._schedules.get(DEVELOPER, self.id)

    async def fires(self) -> list[dict[str, Any]]:
        """Return what became of each slot, the oldest first: ``slot``, ``status``, ``run_id``, ``reason``, …"""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page, cursor = await self._schedules.fires(DEVELOPER, self.id, PAGE, cursor)
            found += page
            if cursor is None:
                return found[::-1]

    async def run_now(self) -> str:
        """Start its workflow at once; returns the run's id."""
        return await self._schedules.run_now(DEVELOPER, self.id)

    async def change(self, **changes: Any) -> None:
        """Change what was said when it was made; ``enabled=False`` pauses it.

        Raises:
            ValidationFailed: a field is wrong; names it.
        """
        await self._schedules.change(DEVELOPER, self.id, changes)


def open_schedules(engine: Engine, beside: Engine, store: MemoryStore) -> Schedules:
    """Return the schedules of a test.

    Args:
        engine: carries out the workflows that schedules start.
        beside: another process on its store, not started yet, which waits for the slots.
        store: the store of both.
    """
    tables = sa.MetaData()
    for name in _TABLES:
        metadata.tables[name].to_metadata(tables)
    store.create_tables(tables)

    def open_runs() -> str:
        return orjson.dumps([run_id for run_id, row in store.runs.items() if row.head.status not in TERMINAL]).decode()

    store.raw.create_function("windlass_open_runs", 0, open_runs)
    store.raw.create_function("windlass_codes", 0, lambda: ",".join(one.code for one in engine.registry.definitions))
    with store.turn():
        for view in _VIEWS:
            store.raw.execute(view)
    return Schedules(beside, Targets(PythonTarget(engine, engine.registry)), Options(enabled=True))
