"""The shapes of what the API answers, for its OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Shape(BaseModel):
    """A shape with exactly these fields."""

    model_config = ConfigDict(extra="forbid")


class ErrorBody(Shape):
    """What went wrong."""

    code: str
    message: str
    details: Any = None


class ErrorAnswer(Shape):
    """The envelope of every error."""

    error: ErrorBody
    request_id: str | None


class DetailAnswer(Shape):
    """An error below ``/api/v1/`` and ``/auth/``: ``detail`` is a text, or a list of what is wrong with the request."""

    detail: Any
    code: str
    request_id: str | None
    data: dict[str, Any] | None = None


class RecordAnswer(Shape):
    """A record."""

    id: Annotated[str, Field(min_length=36, max_length=36)]
    created_at: datetime
    status: Literal["pending", "processed", "failed"]
    source: str
    category: str
    payload: dict[str, Any]
    classification: str | None
    score: float | None
    result: dict[str, Any] | None
    error: str | None
    updated_at: datetime
    processed_at: datetime | None
    attempts: int
    run_id: str | None


class RecordsAnswer(Shape):
    """A page of records; ``total`` is null on pages that follow a cursor and with ``count=none``."""

    items: list[RecordAnswer]
    count: int
    total: int | None
    total_exact: bool | None
    next_cursor: str | None


class AcceptedAnswer(Shape):
    """A record whose run goes on."""

    run_id: str
    status: Literal["accepted"]


class ManyAnswer(Shape):
    """A run over many records."""

    run_id: str
    matched: int


class LineResult(BaseModel):
    """What became of one line."""

    line: int
    id: str | None = None
    error: ErrorBody | None = None


class BulkAnswer(Shape):
    """What became of a bulk request; ``repeated`` of the created had been so by an earlier one under the same key."""

    created: int
    repeated: int
    failed: int
    results: list[LineResult]


class ReportFilters(Shape):
    """The filters of a report, as they were given."""

    status: str | None
    category: str | None
    date_from: str | None
    date_to: str | None


class Totals(Shape):
    """Records by status."""

    all: int
    pending: int
    processed: int
    failed: int


class CategoryCount(Shape):
    """Records of a category."""

    category: str
    count: int


class SummaryAnswer(Shape):
    """The summary."""

    generated_at: datetime
    filters: ReportFilters
    totals: Totals
    by_category: list[CategoryCount]
    by_source: list[dict[str, Any]]
    by_day: list[dict[str, Any]]
    failure_reasons: list[dict[str, Any]]
    processing_ms: dict[str, Any]
    throughput: list[dict[str, Any]]


class ReportAnswer(Shape):
    """One report."""

    report: str
    generated_at: datetime
    filters: ReportFilters
    rows: list[dict[str, Any]]


class HealthAnswer(Shape):
    """The service and its database answer."""

    status: Literal["healthy"]
    service: str | None = None
    version: str | None = None
    database: Literal["connected"]
    timestamp: datetime


class UnhealthyAnswer(Shape):
    """The database does not answer."""

    status: Literal["unhealthy"]
    service: str | None = None
    version: str | None = None
    database: Literal["disconnected"]
    timestamp: datetime
    error: str


class VersionAnswer(Shape):
    """What runs."""

    version: str
    commit: str
    environment: str


class RunAnswer(Shape):
    """A run."""

    run_id: str
    name: str
    status: str
    status_reason: str | None
    wait_reason: str | None
    queue: str
    priority: int
    tenant_id: str
    owner: str | None
    key: str | None
    interface_version: str
    parent_run_id: str | None
    workflow_id: int | None
    holder: str | None
    deaths: int
    last_seq: int
    history_from_seq: int
    attributes: dict[str, Any]
    inputs: Any
    outputs: Any
    error: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    wake_at: datetime | None


class ExplainAnswer(Shape):
    """Why a run stands where it does."""

    run_id: str
    status: str
    reason: str
    blocker: str | None
    since: datetime | None
    next_try: datetime | None
    detail: str | None
    advice: str | None


class RunsAnswer(Shape):
    """A page of runs, newest first."""

    items: list[RunAnswer]
    count: int
    next_cursor: str | None


class EventAnswer(Shape):
    """An event of a run."""

    event_seq: int
    event_type: str
    step_id: str | None
    payload: Any
    created_at: datetime


class EventsAnswer(Shape):
    """Events of a run, in order; ``next_since`` goes on after the last of them."""

    items: list[EventAnswer]
    count: int
    next_since: int | None


class StreamItemAnswer(Shape):
    """An item of a stream; ``step_id`` and ``attempt`` are of the step that wrote it, null for the workflow itself."""

    offset: int
    value: Any
    step_id: str | None
    attempt: int | None
    created_at: datetime


class StreamAnswer(Shape):
    """Items of a stream, in order; ``next_offset`` goes on after them, ``closed`` says that nothing will come there."""

    items: list[StreamItemAnswer]
    count: int
    next_offset: int
    closed: bool


class PublishedAnswer(Shape):
    """The newest value of each key that a run has published."""

    run_id: str
    values: dict[str, Any]


class UpdateAnswer(Shape):
    """An update of a run; ``answer`` is what the run answered, or why it refused it or failed."""

    run_id: str
    update_id: str
    name: str
    state: Literal["sent", "accepted", "completed", "failed", "refused"]
    answer: Any


class QueryAnswer(Shape):
    """What a run answered to a query."""

    run_id: str
    answer: Any


class ControlAnswer(Shape):
    """What a control call did: ``sent`` means that the run's holder does it within a second."""

    run_id: str
    result: Literal["applied", "already_applied", "sent"]
    status: str


class QueueAnswer(Shape):
    """A queue: its limit over all processes, and its open runs: being worked on, ready, all of them."""

    queue: str
    limit: int | None
    paused: bool
    running: int
    ready: int
    open: int


class DrainAnswer(Shape):
    """A queue that takes no run any more, and how many of its runs are still worked on."""

    queue: str
    paused: bool
    running: int
    drained: bool


class QueuesAnswer(Shape):
    """The queues."""

    items: list[QueueAnswer]
    count: int


class TokenAnswer(Shape):
    """A token to send as ``Authorization: Bearer …``, the seconds for which it is good, and what gets the next one."""

    access_token: str
    token_type: Literal["bearer"]
    expires_in: int
    refresh_token: str


class CallerAnswer(Shape):
    """Who is calling."""

    ok: Literal[True]
    user_id: str
    username: str
    is_admin: bool
    tenant_id: str


class VirtualKeyAnswer(Shape):
    """A virtual key: a token that is narrowed down."""

    token: str
    expires_at: datetime
    scope: str
    schedule_id: str | None


class AuditAnswer(Shape):
    """Entries of the audit log, newest first; ``next_cursor`` goes on with older ones."""

    items: list[dict[str, Any]]
    count: int
    next_cursor: str | None


class VerdictAnswer(Shape):
    """What was found in a stretch of the audit log's chain; ``next`` is where to go on, null at its end."""

    ok: bool
    checked: int
    last_seq: int
    last_hash: str
    next: int | None
    problems: list[str]
