"""The limits there are, and how one that is reached is told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from windlass.kernel.clock import SECOND, to_iso
from windlass.kernel.errors import Invalid, Kind, WindlassError

EVERYBODY = "*"
"""Every user of a tenant; as a tenant, every tenant."""
MOST = 10**12
LONGEST_NAME = 255


class Limit(StrEnum):
    """What is limited.

    ``daily`` and ``burst``: runs of definitions of a user in a UTC day and in a minute. ``run_adhoc`` and
    ``run_saved``: requests of a caller in a minute to start one. ``queue_depth``: runs of a tenant that wait for a
    place; ``queue_depth_all``: of all tenants together.
    """

    DAILY = "daily"
    BURST = "burst"
    ADHOC = "run_adhoc"
    SAVED = "run_saved"
    DEPTH = "queue_depth"
    DEPTH_ALL = "queue_depth_all"


QUOTAS = (Limit.DAILY, Limit.BURST)
DEPTHS = frozenset({Limit.DEPTH, Limit.DEPTH_ALL})
WINDOWS = {Limit.DAILY: 86_400, Limit.BURST: 60, Limit.ADHOC: 60, Limit.SAVED: 60}
"""Seconds."""
WORDS = {
    Limit.DAILY: "Daily quota exceeded",
    Limit.BURST: "Burst quota exceeded",
    Limit.ADHOC: "Rate limit exceeded",
    Limit.SAVED: "Rate limit exceeded",
}


@dataclass(frozen=True, slots=True)
class Options:
    """What the settings say; None is no limit. Without ``quotas`` and ``rates`` those are not counted."""

    values: Mapping[Limit, int | None]
    quotas: bool = True
    rates: bool = True


class Subject(NamedTuple):
    """Who is limited."""

    tenant_id: str
    user_id: str


class LimitExceeded(WindlassError):
    """A quota or rate is used up; ``allowed`` is what it allows in a window, ``reset_at`` (seconds) where that ends.

    ``retry_after`` is in seconds from the moment at which it was refused.
    """

    code = "RATE_LIMITED"
    kind = Kind.RATE_LIMITED

    def __init__(self, limit: Limit, allowed: int, now: int) -> None:
        start = window(limit, now)
        self.limit = limit
        self.allowed = allowed
        self.reset_at = start + WINDOWS[limit]
        self.retry_after = max(1, math.ceil(self.reset_at - now / SECOND))
        resets = to_iso(self.reset_at * SECOND)
        super().__init__(WORDS[limit], limit=limit.value, allowed=allowed, resets_at=resets)


class QueueFull(WindlassError):
    """Too many runs wait for a place; ``retry_after`` is in seconds."""

    code = "RATE_LIMITED"
    kind = Kind.RATE_LIMITED

    def __init__(self, limit: Limit, allowed: int, depth: int) -> None:
        self.limit = limit
        self.retry_after = 5
        super().__init__("Queue is full", limit=limit.value, allowed=allowed, depth=depth)


class Override(NamedTuple):
    """A limit other than the settings'; ``value`` None is no limit."""

    tenant_id: str
    user_id: str
    limit: Limit
    value: int | None
    updated_at: str
    updated_by: str

    def shown(self) -> dict[str, Any]:
        """Return what is printed and kept in the audit log."""
        return {**self._asdict(), "limit": self.limit.value}


class Standing(NamedTuple):
    """How a subject stands with a limit; ``source`` is ``settings``, or whose override it is: user, tenant, all."""

    limit: str
    value: int | None
    source: str
    used: int | None
    resets_at: str | None


def window(limit: Limit, now: int) -> int:
    """Return where the window of a time (microseconds) begins, in seconds."""
    seconds = now // SECOND
    return seconds - seconds % WINDOWS[limit]


def check_limit(name: str) -> Limit:
    """Return a limit by its name.

    Raises:
        Invalid: there is none of this name.
    """
    try:
        return Limit(name)
    except ValueError:
        raise Invalid(f"there is no limit {name!r}: there are {', '.join(Limit)}", field="limit") from None


def check_subject(limit: Limit, tenant_id: str, user_id: str) -> Subject:
    """Return whose limit is meant.

    Raises:
        Invalid: a name is too long or not printable, or the limit is not of a single user or tenant.
    """
    for field, text in (("tenant_id", tenant_id), ("user_id", user_id)):
        if not (1 <= len(text) <= LONGEST_NAME and text.isprintable()):
            raise Invalid(f"{field} is 1 to {LONGEST_NAME} printable characters", field=field)
    if tenant_id == EVERYBODY and user_id != EVERYBODY:
        raise Invalid("a user is of one tenant: say which", field="tenant_id")
    if limit in DEPTHS and user_id != EVERYBODY:
        raise Invalid(f"{limit} is a limit of tenants: name no user", field="user_id")
    if limit is Limit.DEPTH_ALL and tenant_id != EVERYBODY:
        raise Invalid(f"{limit} is a limit over all tenants: only who sits at the database changes it", field="limit")
    return Subject(tenant_id, user_id)


def check_value(value: int | None) -> int | None:
    """Return a limit's value.

    Raises:
        Invalid: it is below 0 or beyond what is counted.
    """
    if value is not None and not 0 <= value <= MOST:
        raise Invalid(f"a limit is a number from 0 to {MOST}, or none", field="value")
    return value
