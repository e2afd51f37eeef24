"""Answering commands in this process, on the database itself: a visitor that starts runs and carries none out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import orjson

from windlass import settings
from windlass.bootstrap import Application, visit_application
from windlass.cli.client.operators import operator
from windlass.cli.client.protocol import RecordFilter, ReportFilter, Row, RunQuery, Stored
from windlass.cli.client.results import stored
from windlass.cli.modules import look_in_working_folder
from windlass.contexts.records.api import Accepted, Filter, Import, read_filter, read_moment, written
from windlass.engine.types import Event, RunFilter, RunView
from windlass.kernel.clock import to_iso
from windlass.storage import overview
from windlass.storage.explain import explain_run
from windlass.storage.queues import change_queue, drain_queue, queues

"""Who works on the database itself."""
MAX_RECORD_BYTES = 32 * 1024 * 1024


class DirectClient:
    """See ``protocol.Client``."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self._engine = application.engine
        self._records = application.records
        self.name = str(application.settings.database)

    async def store(self, body: bytes, key: str) -> Stored:
        """Store records."""
        request = Import(self._records, key=key, together=False, failures_only=True, max_record=MAX_RECORD_BYTES)
        return stored(await request.run(_once(body)))

    def export(self, wanted: RecordFilter, fmt: str) -> AsyncIterator[bytes]:
        """Yield records."""
        return written(self._records.export(record_filter(wanted)), fmt)

    async def process_many(self, wanted: RecordFilter, limit: int | None) -> Row:
        """Start a run over many records."""
        return (await self._records.process_many(record_filter(wanted), limit))._asdict()

    async def process(self, record_id: str, *, retry: bool) -> Row:
        """Process one record."""
        act = self._records.retry if retry else self._records.process
        found = await act(record_id)
        return {"id": record_id, "run_id": found.run_id} if isinstance(found, Accepted) else _plain(found.view())

    async def get_record(self, record_id: str) -> Row:
        """Return a record."""
        return _plain((await self._records.get(record_id)).view())

    async def summary(self, wanted: ReportFilter) -> Row:
        """Return the summary."""
        asked = read_filter(wanted.status, wanted.category, wanted.date_from, wanted.date_to)
        now = to_iso(self._engine.clock.now())
        return {"generated_at": now, "filters": asked.shown(), **await self._records.summary(asked)}

    async def list_runs(self, query: RunQuery) -> list[Row]:
        """Return runs."""
        after, before = _moment(query.created_after, "created_after"), _moment(query.created_before, "created_before")
        statuses = () if query.status is None else (query.status,)
        wanted = RunFilter(
            statuses,
            query.name,
            query.queue,
            query.parent_run_id,
            after,
            before,
            failing=query.failing,
            attempt_gte=query.attempt_gte,
            waiting_on=query.waiting_on,
            error_class=query.error_class,
            limit=query.limit,
        )
        return [_run(view) for view in await self._engine.list_runs(wanted)]

    async def get_run(self, run_id: str) -> Row:
        """Return a run."""
        return _run(await self._engine.get_run(run_id))

    async def explain(self, run_id: str) -> Row:
        """Say why a run stands where it does."""
        return (await explain_run(self._engine, run_id))._asdict()

    async def events(self, run_id: str, since: int, limit: int) -> list[Row]:
        """Return events."""
        await self._engine.get_run(run_id)
        return [_event(event) for event in await self._engine.events(run_id, since=since, limit=limit)]

    async def control(self, run_id: str, action: str, reason: str | None) -> Row:
        """Control a run."""
        run = await self._engine.get_run(run_id)
        return (await self.application.workflows.runs.command(operator(), run, action, reason))._asdict()

    async def queues(self) -> list[Row]:
        """Return the queues."""
        return [queue._asdict() for queue in await self._engine.read(queues)]

    async def set_queue(self, queue: str, changes: Row) -> Row:
        """Change a queue."""
        return (await change_queue(self._engine, queue, changes))._asdict()

    async def limits(self) -> list[Row]:
        """Return the limits."""
        return [limit._asdict() for limit in await self.application.workflows.concurrency.all(operator())]

    async def set_limit(self, name: str, changes: Row | None) -> Row:
        """Set or clear a limit."""
        service = self.application.workflows.concurrency
        if changes is None:
            return (await service.clear(operator(), name))._asdict()
        told = await service.change(operator(), name, most=changes.get("limit"), weight=changes.get("weight"))
        return told._asdict()

    async def drain_queue(self, queue: str) -> Row:
        """Pause a queue."""
        return (await drain_queue(self._engine, queue))._asdict()

    async def inbox(self, *, everybody: bool, limit: int) -> list[Row]:
        """Return questions; who works on the database itself sees everybody's."""
        items: list[Row] = []
        cursor = None
        while len(items) < limit:
            page = await self.application.people.inbox(
                operator(), everybody=everybody, cursor=cursor, limit=limit - len(items)
            )
            items += [_plain(asdict(task)) for task in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        return items

    async def decide(
        self, run_id: str, step_id: str, decision: str, comment: str | None, edited_fields: Row | None
    ) -> None:
        """Answer a question."""
        await self.application.people.decide(operator(), run_id, step_id, decision, comment, edited_fields)

    async def reassign(self, run_id: str, step_id: str, assigned_to: Sequence[str]) -> None:
        """Ask others."""
        await self.application.people.reassign(operator(), run_id, step_id, assigned_to)

    async def workers(self) -> Sequence[Row] | None:
        """Return the live processes."""
        poll = await self._engine.worker.read(lambda: self._engine.backend.reader.poll("", (), 0))
        found = await self._engine.read(lambda connection: overview.processes(connection, poll.dead))
        return [process._asdict() for process in found]


@asynccontextmanager
async def open_direct(*, creates: bool) -> AsyncIterator[DirectClient]:
    """Open the database of DATABASE_URL.

    Args:
        creates: whether a SQLite file that is not there yet is made; else it is refused like any other older database.

    Raises:
        ConfigError: a setting is wrong, or the database is not at this version.
        Unavailable: the database cannot be reached.
    """
    found = settings.load()
    if found.app_modules:
        look_in_working_folder()
    if not creates and found.auto_migrate is None:
        found = found.model_copy(update={"auto_migrate": False})
    async with visit_application(found.model_copy(update={"process_wait_seconds": 0.0})) as application:
        yield DirectClient(application)


def record_filter(wanted: RecordFilter) -> Filter:
    """Return a filter with its times read.

    Raises:
        Invalid: one of them is no time.
    """
    after, before = _moment(wanted.created_after, "created_after"), _moment(wanted.created_before, "created_before")
    return Filter(wanted.status, wanted.category, wanted.source, after, before)


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _moment(text: str | None, name: str) -> str | None:
    return None if text is None else read_moment(text, name, end=name.endswith("before"))


def _run(view: RunView) -> Row:
    return asdict(view)


def _event(event: Event) -> Row:
    return {
        "event_seq": event.seq,
        "event_type": event.type,
        "step_id": event.step_id,
        "payload": orjson.loads(event.payload),
        "created_at": to_iso(event.at),
    }


def _plain(row: dict[str, Any]) -> Row:
    found: Row = orjson.loads(orjson.dumps(row))
    return found
