"""Counting in the transaction of what is counted: never beyond a limit, whoever else counts at the same time."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from windlass.contexts.limits.model import EVERYBODY, WINDOWS, Limit, Subject, window
from windlass.contexts.limits.tables import workflow_limits, workflow_usage
from windlass.engine.ports import Transaction
from windlass.kernel.clock import SECOND

GRACE = 3600 * SECOND
"""How long a window is kept after its end: the clock of another process may be behind."""
_KEY = "tenant_id = :tenant_id AND user_id = :user_id AND limit_name = :limit_name AND window_start = :window_start"
_ADD = """INSERT INTO workflow_usage (tenant_id, user_id, limit_name, window_start, used, expires_at)
 VALUES (:tenant_id, :user_id, :limit_name, :window_start, :wanted, :expires_at)
 ON CONFLICT (tenant_id, user_id, limit_name, window_start)
 DO UPDATE SET used = workflow_usage.used + excluded.used RETURNING used"""
_GIVE_BACK = f"UPDATE workflow_usage SET used = used - :excess WHERE {_KEY}"  # noqa: S608  our own columns
_OVERRIDES = """SELECT tenant_id, user_id, limit_name, value FROM workflow_limits
 WHERE tenant_id IN (:tenant_id, '*') AND user_id IN (:user_id, '*')"""
SOURCES = {(False, False): "user", (False, True): "tenant", (True, True): "all"}
"""By whether an override is of every tenant, and of every user."""
_ORDER = ("user", "tenant", "all")

Values = Mapping[Limit, int | None]


def take(tx: Transaction, subject: Subject, limit: Limit, wanted: int, allowed: int | None, now: int) -> int:
    """Count uses of a limit in the window of a time (microseconds), and return how many of them it allowed."""
    start = window(limit, now)
    row = {
        "tenant_id": subject.tenant_id,
        "user_id": subject.user_id,
        "limit_name": limit.value,
        "window_start": start,
    }
    end = (start + WINDOWS[limit]) * SECOND
    used = tx.execute(_ADD, {**row, "wanted": wanted, "expires_at": end + GRACE}).fetchone()[0]
    excess = 0 if allowed is None else min(wanted, max(0, used - allowed))
    give_back(tx, subject, limit, excess, now)
    return wanted - excess


def give_back(tx: Transaction, subject: Subject, limit: Limit, excess: int, now: int) -> None:
    """Take uses back that were counted in this transaction."""
    if excess:
        row = {"tenant_id": subject.tenant_id, "user_id": subject.user_id, "limit_name": limit.value}
        tx.execute(_GIVE_BACK, {**row, "window_start": window(limit, now), "excess": excess})


def values_for(tx: Transaction, subject: Subject, settings: Values) -> dict[Limit, int | None]:
    """Return the limits in force for somebody: their own, else the tenant's, else everybody's, else the settings'."""
    rows = tx.execute(_OVERRIDES, subject._asdict()).fetchall()
    return {limit: value for limit, (value, _) in resolved(rows, settings).items()}


def resolved(rows: list[tuple[str, str, str, int | None]], settings: Values) -> dict[Limit, tuple[int | None, str]]:
    """Return each limit's value and where it is from, out of the overrides that touch somebody."""
    found: dict[Limit, tuple[int | None, str]] = {limit: (value, "settings") for limit, value in settings.items()}
    told = [(SOURCES[tenant == EVERYBODY, user == EVERYBODY], Limit(name), value) for tenant, user, name, value in rows]
    for source, limit, value in sorted(told, key=lambda one: _ORDER.index(one[0]), reverse=True):
        found[limit] = (value, source)
    return found


def overrides_of(connection: sa.Connection, subject: Subject) -> list[tuple[str, str, str, int | None]]:
    """Return the overrides that touch somebody."""
    c = workflow_limits.c
    query = sa.select(c.tenant_id, c.user_id, c.limit_name, c.value).where(
        c.tenant_id.in_([subject.tenant_id, EVERYBODY]), c.user_id.in_([subject.user_id, EVERYBODY])
    )
    return [(row[0], row[1], row[2], row[3]) for row in connection.execute(query)]


def used(connection: sa.Connection, subject: Subject, now: int) -> dict[Limit, int]:
    """Return what somebody has used in the windows of a time (microseconds)."""
    c = workflow_usage.c
    found = {}
    for limit in WINDOWS:
        query = sa.select(c.used).where(
            c.tenant_id == subject.tenant_id,
            c.user_id == subject.user_id,
            c.limit_name == limit.value,
            c.window_start == window(limit, now),
        )
        found[limit] = int(connection.execute(query).scalar() or 0)
    return found
