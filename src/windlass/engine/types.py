"""The engine's values: a run, its events, and the changes a unit of work may ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from windlass.kernel.lanes import LaneRules


class Status(StrEnum):
    """Where a run stands; the last three are terminal."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    WAITING_HUMAN = "waiting_human"
    WAITING_APPROVAL = "waiting_approval"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether nothing but ``retry`` (of a failed run) can change it."""
        return self in TERMINAL


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
WITH_PEOPLE = frozenset({Status.WAITING_HUMAN, Status.WAITING_APPROVAL})
"""A parked run that nothing but a person (or the time that was given to one) will move."""
POISON_DEATHS = 5
"""A run whose holders died this often without any progress between is paused as ``poisoned``."""

FRESH, RESUMED = 1, 0
"""``claim_rank``: within a priority, runs that were woken go before new starts."""


class NewEvent(NamedTuple):
    """An event before its number is known."""

    type: str
    step_id: str | None
    payload: str
    at: int


class Event(NamedTuple):
    """A journal row: ``seq`` counts 1, 2, 3 … within its run, ``at`` is microseconds, ``payload`` is JSON."""

    run_id: str
    seq: int
    type: str
    step_id: str | None
    payload: str
    at: int


class InboxRow(NamedTuple):
    """Something said to a run by somebody who does not hold it.

    ``kind`` is ``signal``, ``update``, ``query``, ``child``, ``cancel`` or ``pause``; ``name`` is its, or a child's id.
    """

    inbox_id: str
    run_id: str
    kind: str
    name: str
    dedup_id: str | None
    payload: str
    at: int


@dataclass(slots=True)
class NewRun:
    """A run to be inserted. Times are microseconds; ``inputs`` and ``attributes`` are JSON text.

    With ``holder`` set it is born claimed; with ``wake_at`` set it starts then. ``on_end`` names a workflow that is
    started in the transaction in which the run ends. ``workflow_id`` is the saved definition that it carries out.
    ``lane`` names the limits it shares, and ``ageing`` is what a step of its priority is worth there; see ``lanes``.
    """

    run_id: str
    name: str
    inputs: str
    created_at: int
    queue: str = "default"
    priority: int = 0
    tenant_id: str = "default"
    owner: str | None = None
    key: str | None = None
    attributes: str = "{}"
    interface_version: str = "1"
    parent_run_id: str | None = None
    workflow_id: int | None = None
    on_end: str | None = None
    holder: str | None = None
    ready_at: int | None = None
    wake_at: int | None = None
    status: Status = Status.QUEUED
    last_seq: int = 0
    started_at: int | None = None
    lane: str = ""
    ageing: int = 0


@dataclass(slots=True)
class RunHead:
    """The changeable part of a run row, as locked inside a transaction.

    ``ready_at`` set: may be claimed. ``wake_at`` set: becomes ready then. ``holder`` set: somebody runs it.
    ``started_at`` is ISO 8601 text, which nothing here computes with.
    """

    run_id: str
    name: str
    status: str
    status_reason: str | None
    wait_reason: str | None
    holder: str | None
    last_seq: int
    queue: str
    priority: int
    claim_rank: int
    ready_at: int | None
    wake_at: int | None
    deaths: int
    parent_run_id: str | None
    on_end: str | None
    started_at: str | None
    lane: str = ""


@dataclass(slots=True)
class ClaimedRun:
    """A run handed to a holder, with everything needed to go on: its inputs, journal and inbox.

    ``missing`` events are not in the journal any more: somebody has deleted them.
    """

    head: RunHead
    inputs: str
    tenant_id: str
    owner: str | None
    key: str | None
    attributes: str
    interface_version: str
    events: Sequence[Event] = ()
    inbox: Sequence[InboxRow] = ()
    missing: int = 0


@dataclass(slots=True)
class Finish:
    """A terminal outcome: ``outputs`` or ``error`` is JSON text.

    ``parent_run_id`` is told of it; ``children`` says that the run started some, so that those still open
    are cancelled with it; ``by`` is who cancelled it.
    """

    status: Status
    outputs: str | None = None
    error: str | None = None
    reason: str | None = None
    parent_run_id: str | None = None
    children: bool = False
    by: str | None = None


@dataclass(slots=True)
class Park:
    """Leave memory and wait: until ``wake_at`` (microseconds), or for the inbox when it is None.

    ``status`` is ``paused`` for a pause, one of ``WITH_PEOPLE`` for a run that waits for nobody else, and ``running``
    otherwise; ``ready`` queues the run again at once (a worker that shuts down gives its runs back so). Refused
    when the inbox holds something new: anything for a run that waits, a cancellation for one that pauses.
    """

    reason: str
    wake_at: int | None = None
    status: Status = Status.RUNNING
    status_reason: str | None = None
    ready: bool = False
    heard: frozenset[str] = frozenset()


@dataclass(slots=True)
class Advance:
    """One step forward of a held run at ``at`` microseconds: events, what goes with them, and rows for ``at_end``."""

    run_id: str
    holder: str
    at: int
    events: list[NewEvent]
    finish: Finish | None = None
    park: Park | None = None
    starts: list[NewRun] = field(default_factory=list)
    consumed: list[str] = field(default_factory=list)
    along: Sequence[tuple[Callable[[Any, list[Any]], None], object]] = ()


TellStart = Callable[[Any, "Started"], None]
TellControl = Callable[[Any, str, "ControlResult"], None]
"""Both get the open transaction first."""


@dataclass(slots=True)
class StartRequest:
    """A run to start, once per idempotency key.

    ``request_hash`` tells a repeated request from another one under the same key. ``own_id``: the id was chosen
    by the caller, so it may be taken. ``tell`` hears of the answer, a repeated key's too, in the transaction itself.
    ``rules`` are the limits of lanes where nobody has set one; without them no run of a lane is born claimed.
    """

    run: NewRun
    idempotency_key: str | None = None
    request_hash: str = ""
    expires_at: int | None = None
    own_id: bool = False
    tell: TellStart | None = None
    rules: LaneRules | None = None


class Started(NamedTuple):
    """The answer to a start: ``created`` is False when the key had already been used."""

    run_id: str
    created: bool
    holder: str | None


class ControlRequest(NamedTuple):
    """``action`` is cancel, pause, resume or retry; ``by`` says who asks.

    ``tell`` hears in the transaction what status the run had and what was done.
    """

    run_id: str
    action: str
    by: str
    reason: str | None
    inbox_id: str
    at: int
    tell: TellControl | None = None


class ControlResult(NamedTuple):
    """``applied``: done in this transaction. ``sent``: the run's holder will do it within a second."""

    result: str
    status: str


class SignalRequest(NamedTuple):
    """A signal; ``dedup_id`` makes a repeated send harmless."""

    run_id: str
    name: str
    payload: str
    dedup_id: str | None
    inbox_id: str
    at: int


class Lease(NamedTuple):
    """A live process as the database knows it."""

    holder: str
    host: str
    pid: int
    workflows: str


class ClaimRequest(NamedTuple):
    """What a worker can take: runs of its codes, of its queues, and how many; see ``Registry.codes``.

    Half of them come from lanes where both wait; ``lanes_first`` says who gets the odd one. ``cursor`` is where the
    last claim stopped looking for tenants.
    """

    holder: str
    codes: tuple[str, ...]
    queues: tuple[str, ...] | None
    limit: int
    now: int
    rules: LaneRules = LaneRules()
    cursor: str = ""
    lanes_first: bool = True


class ClaimResult(NamedTuple):
    """The claimed runs, whether to ask again at once, the next known wake-up (microseconds), and the next cursor."""

    runs: list[ClaimedRun]
    more: bool
    next_wake: int | None
    cursor: str = ""


class LaneClaim(NamedTuple):
    """Runs taken from lanes; ``more``: others may be found at once, from ``cursor`` on."""

    runs: list[ClaimedRun]
    more: bool
    cursor: str


@dataclass(slots=True)
class RunView:
    """A run as readers see it; times are ISO 8601 text, JSON columns are decoded.

    From ``history_from_seq`` on its journal is whole: more than 1 when events were deleted.
    """

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
    created_at: str
    started_at: str | None
    ended_at: str | None
    wake_at: str | None


class Sight(NamedTuple):
    """Which runs somebody may look at: those of ``tenants``, but not of ``closed`` workflows.

    Of these only what is ``tenant``'s and ``owner``'s, where None is every owner; without a tenant none at all.
    """

    tenants: tuple[str, ...]
    closed: tuple[str, ...]
    tenant: str | None
    owner: str | None


class RunFilter(NamedTuple):
    """Which runs to list, newest first; ``before`` is the id and creation time of the last one seen.

    ``failing``: open runs an attempt of whose steps has failed; ``attempt_gte``: a step has failed at this attempt or
    a later one; ``waiting_on``: a reason of ``explain`` or a wait reason; ``error_class``: what the error of a failed
    run begins with; ``sight``: who asks, None for an operator.
    """

    status: tuple[str, ...] = ()
    name: str | None = None
    queue: str | None = None
    parent_run_id: str | None = None
    created_after: str | None = None
    created_before: str | None = None
    before: tuple[str, str] | None = None
    failing: bool = False
    attempt_gte: int | None = None
    waiting_on: str | None = None
    error_class: str | None = None
    sight: Sight | None = None
    limit: int = 50


class Ended(NamedTuple):
    """How a run ended: ``result`` is the JSON text of its outputs or of its error."""

    run_id: str
    status: str
    result: str | None


class Poll(NamedTuple):
    """What an idle process asks about once a second.

    ``ready``: something may be claimed. ``next_wake``: microseconds. ``inbox``: unread rows of the runs it holds.
    ``dead``: holders to be taken over. ``restricted``: paused or limited queues. ``fleet``: processes that take runs.
    """

    ready: bool
    next_wake: int | None
    inbox: list[InboxRow]
    dead: list[str]
    restricted: frozenset[str]
    fleet: int = 1
