"""What commands ask for. Records, runs and queues are dictionaries as the API answers them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which records; times as the user wrote them."""

    status: str | None = None
    category: str | None = None
    source: str | None = None
    created_after: str | None = None
    created_before: str | None = None


@dataclass(frozen=True, slots=True)
class ReportFilter:
    """What a report is on; dates as the user wrote them."""

    status: str | None = None
    category: str | None = None
    date_from: str | None = None
    date_to: str | None = None


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs to list, newest first."""

    status: str | None = None
    name: str | None = None
    queue: str | None = None
    parent_run_id: str | None = None
    created_after: str | None = None
    created_before: str | None = None
    failing: bool = False
    attempt_gte: int | None = None
    waiting_on: str | None = None
    error_class: str | None = None
    limit: int = 50


class Fault(NamedTuple):
    """A record of a batch that was refused: its place from 1, the field, and why; several fields are in ``message``."""

    place: int
    field: str | None
    message: str


class Stored(NamedTuple):
    """What became of a batch: how many records are stored, and how many of them were so before it was sent."""

    created: int
    repeated: int
    faults: list[Fault]


class Client(Protocol):
    """A Windlass to talk to."""

    name: str
    """How messages call it."""

    async def store(self, body: bytes, key: str) -> Stored:
        """Store records (NDJSON) once for an idempotency key."""
        ...

    def export(self, wanted: RecordFilter, fmt: str) -> AsyncIterator[bytes]:
        """Yield records as ``ndjson`` or ``csv``, oldest first."""
        ...

    async def process_many(self, wanted: RecordFilter, limit: int | None) -> Row:
        """Start a run over the records that match; returns its ``run_id`` and how many ``matched``."""
        ...

    async def process(self, record_id: str, *, retry: bool) -> Row:
        """Process a pending record, or a failed one again.

        Returns:
            the record, or only its ``id`` and ``run_id`` when it takes longer than the server waits.
        """
        ...

    async def get_record(self, record_id: str) -> Row:
        """Return a record."""
        ...

    async def summary(self, wanted: ReportFilter) -> Row:
        """Return the summary report."""
        ...

    async def list_runs(self, query: RunQuery) -> list[Row]:
        """Return runs."""
        ...

    async def get_run(self, run_id: str) -> Row:
        """Return a run."""
        ...

    async def explain(self, run_id: str) -> Row:
        """Say why a run stands where it does.

        Raises:
            WindlassError: there is no such run.
        """
        ...

    async def events(self, run_id: str, since: int, limit: int) -> list[Row]:
        """Return events with ``event_seq`` above ``since``, in order."""
        ...

    async def control(self, run_id: str, action: str, reason: str | None) -> Row:
        """Cancel, pause, resume or retry a run; returns ``result`` and ``status``."""
        ...

    async def queues(self) -> list[Row]:
        """Return the queues."""
        ...

    async def set_queue(self, queue: str, changes: Row) -> Row:
        """Change a queue's ``limit`` or whether it is ``paused``; returns it as it is then."""
        ...

    async def limits(self) -> list[Row]:
        """Return the limits of runs of definitions that are set or in use."""
        ...

    async def set_limit(self, name: str, changes: Row | None) -> Row:
        """Set a limit's ``limit``, a tenant's ``weight``, or both; None clears it. Returns it as it is then."""
        ...

    async def drain_queue(self, queue: str) -> Row:
        """Pause a queue; returns how many of its runs are still ``running``, and whether it is ``drained``."""
        ...

    async def inbox(self, *, everybody: bool, limit: int) -> list[Row]:
        """Return questions that wait for the caller, or for anybody, oldest first."""
        ...

    async def decide(
        self, run_id: str, step_id: str, decision: str, comment: str | None, edited_fields: Row | None
    ) -> None:
        """Answer the question of a step: ``approve`` or ``reject``."""
        ...

    async def reassign(self, run_id: str, step_id: str, assigned_to: Sequence[str]) -> None:
        """Ask others instead."""
        ...

    async def workers(self) -> Sequence[Row] | None:
        """Return the live processes with the ``workflows`` they carry out; None when the server does not say."""
        ...
