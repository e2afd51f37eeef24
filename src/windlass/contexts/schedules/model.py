"""A schedule, its fires, and what the world outside offers to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from windlass.engine.ports import Transaction
from windlass.kernel.clock import to_iso
from windlass.kernel.errors import Kind as ErrorKind
from windlass.kernel.errors import NotFound, WindlassError


class UnknownSchedule(NotFound):
    """No schedule has this id."""

    def __init__(self, schedule_id: str) -> None:
        super().__init__("Not found", id=schedule_id)


class UnknownTarget(WindlassError):
    """A schedule's target is not there (any more), or its input does not fit; ``field`` names the culprit."""

    code = "UNKNOWN_TARGET"
    kind = ErrorKind.VALIDATION


class Outcome(StrEnum):
    """What became of a slot, or of an order to run now."""

    QUEUED = "queued"
    PENDING = "pending"
    SKIPPED_OVERLAP = "skipped_overlap"
    SKIPPED_OFFLINE = "skipped_offline"
    SKIPPED_QUOTA = "skipped_quota"
    MISSED = "missed"
    ERROR = "error"


class Kind(StrEnum):
    """Why something was to run: its time came, somebody asked, or a past window is made up for."""

    SLOT = "slot"
    RUN_NOW = "run_now"
    BACKFILL = "backfill"


LIVE_LIMITS = {"skip": 1, "queue": 3}
"""How many runs of a schedule may be open when another of its slots comes, by its ``concurrency_mode``."""


class Aim(NamedTuple):
    """What a schedule runs, and for whom: a saved workflow by its id, or a Python workflow by its name."""

    workflow_id: int | None
    workflow: str | None
    inputs: Mapping[str, Any]
    tenant_id: str
    user_id: str
    run_mode: str = "async"
    validation_mode: str = "block"


class Order(NamedTuple):
    """A run to be started: under ``run_id``, which is the same whoever starts this slot, and at most once."""

    schedule_id: str
    aim: Aim
    run_id: str
    slot: int | None
    kind: str


class Target(Protocol):
    """Who runs what schedules aim at."""

    def check(self, connection: sa.Connection, aim: Aim) -> None:
        """Make sure that an aim can be run.

        Raises:
            UnknownTarget: nothing is there for this owner, or the input does not fit.
        """
        ...

    def online(self, connection: sa.Connection, aim: Aim) -> bool:
        """Say whether a live process could carry it out now."""
        ...

    def start_in(self, tx: Transaction, order: Order) -> str:
        """Start a run inside a transaction, unless it is there already; returns its id.

        Raises:
            UnknownTarget: there is nothing to run (any more), or the input does not fit.
        """
        ...


@dataclass(slots=True)
class Schedule:
    """A schedule as it is stored; its own times are microseconds since 1970 UTC.

    Slots up to ``done_until`` have been dealt with; ``tick_run_id`` is the run that waits for ``next_run_at``.
    """

    id: str
    tenant_id: str
    user_id: str
    workflow_id: int | None
    workflow: str | None
    name: str | None
    cron: str
    timezone: str
    inputs: dict[str, Any]
    run_mode: str
    validation_mode: str
    enabled: bool
    require_online: bool
    concurrency_mode: str
    misfire_grace_sec: int
    coalesce: bool
    revision: int
    done_until: int
    tick_run_id: str | None
    drain_run_id: str | None
    last_run_at: int | None
    next_run_at: int | None
    last_status: str | None
    created_at: int
    updated_at: int

    @property
    def aim(self) -> Aim:
        """What it runs."""
        return Aim(
            self.workflow_id, self.workflow, self.inputs, self.tenant_id, self.user_id, self.run_mode,
            self.validation_mode,
        )  # fmt: skip

    @property
    def limit(self) -> int:
        """How many of its runs may be open when a slot comes."""
        return LIVE_LIMITS[self.concurrency_mode]

    def view(self) -> dict[str, Any]:
        """Return the schedule as it is shown."""
        return {
            "id": self.id,
            "tenant_id": self.tenant_id,
            "user_id": self.user_id,
            "workflow_id": self.workflow_id,
            "workflow": self.workflow,
            "name": self.name,
            "cron": self.cron,
            "timezone": self.timezone,
            "inputs": self.inputs,
            "run_mode": self.run_mode,
            "validation_mode": self.validation_mode,
            "enabled": self.enabled,
            "require_online": self.require_online,
            "concurrency_mode": self.concurrency_mode,
            "misfire_grace_sec": self.misfire_grace_sec,
            "coalesce": self.coalesce,
            "last_run_at": iso(self.last_run_at),
            "next_run_at": iso(self.next_run_at),
            "last_status": self.last_status,
            "created_at": iso(self.created_at),
            "updated_at": iso(self.updated_at),
        }


def iso(moment: int | None) -> str | None:
    """Return microseconds as ISO 8601 text."""
    return None if moment is None else to_iso(moment)
