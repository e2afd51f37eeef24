"""Reads the records that many runs ask for in the same moment with one query."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import sqlalchemy as sa

from windlass.contexts.records import rows
from windlass.contexts.records.outcome import Rejected
from windlass.contexts.records.tables import records

MOST = 500

Found = dict[str, tuple[str, str]]
Read = Callable[[Callable[[Any], Found]], Awaitable[Found]]


class Loader:
    """Gives category and payload of records by id.

    Ids asked for in one turn of the event loop, and while the query before is under way, share a query: a page of
    two hundred runs begins with one read, not with two hundred threads that wait for a connection.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wanted: dict[str, asyncio.Future[tuple[str, str]]] = {}
        self._task: asyncio.Task[None] | None = None

    async def load(self, record_id: str) -> tuple[str, str]:
        """Return category and payload (JSON text) of a record.

        Raises:
            Rejected: it is gone.
        """
        future = self._wanted.get(record_id)
        if future is None:
            loop = asyncio.get_running_loop()
            future = self._wanted[record_id] = loop.create_future()
            if self._task is None or self._task.done():
                self._task = loop.create_task(self._work())
        return await asyncio.shield(future)

    def attach(self) -> None:
        """Remember the running event loop, for plain functions that load from threads."""
        self._loop = asyncio.get_running_loop()

    def load_from_thread(self, record_id: str) -> tuple[str, str]:
        """Return what ``load`` does, to a plain function in a thread of its own."""
        if self._loop is None:
            raise RuntimeError("the loader is attached to no event loop")
        return asyncio.run_coroutine_threadsafe(self.load(record_id), self._loop).result()

    async def _work(self) -> None:
        while self._wanted:
            batch = dict(list(self._wanted.items())[:MOST])
            for record_id in batch:
                del self._wanted[record_id]
            await self._answer(batch)

    async def _answer(self, batch: dict[str, asyncio.Future[tuple[str, str]]]) -> None:
        ids = list(batch)
        try:
            found = await self._read(lambda connection: _load(connection, ids))
        except Exception as error:  # noqa: BLE001  whoever asked gets it
            for future in batch.values():
                future.set_exception(error)
            return
        for record_id, future in batch.items():
            if record_id in found:
                future.set_result(found[record_id])
            else:
                future.set_exception(Rejected("the record is gone"))


def _load(connection: sa.Connection, ids: Sequence[str]) -> Found:
    payload = rows.shown(connection, "payload")
    statement = sa.select(records.c.id, records.c.category, payload).where(records.c.id.in_(ids))
    return {row[0]: (row[1], row[2]) for row in rows.fetch(connection, statement)}
