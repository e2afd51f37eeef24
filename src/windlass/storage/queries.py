"""Reads about runs, on both SQL backends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import orjson
import sqlalchemy as sa

from windlass.engine.types import TERMINAL, Ended, Event, InboxRow, Poll, RunFilter, RunView
from windlass.kernel.clock import from_datetime, from_iso, to_iso
from windlass.kernel.lanes import LaneRules
from windlass.storage.history import ASK, whole_from
from windlass.storage.lanes.asking import READY as READY_IN_LANES
from windlass.storage.run_filters import (
    Condition,
    in_queue,
    in_trouble,
    kinds,
    narrowed,
    not_by_index,
    of_kind,
    of_somebody,
    page,
    possible,
    seen,
    with_error,
)
from windlass.storage.schema import (
    workflow_inbox,
    workflow_leases,
    workflow_queues,
    workflow_runs,
)
from windlass.storage.snapshots import one_moment
from windlass.storage.waiting import READY, claimable

T = TypeVar("T")


_ORPHANED = sa.text("""SELECT DISTINCT p.run_id FROM workflow_runs r JOIN workflow_runs p ON p.run_id = r.parent_run_id
 WHERE r.status IN ('queued', 'running', 'paused', 'waiting_human', 'waiting_approval')
 AND p.status IN ('succeeded', 'failed', 'cancelled') AND (r.holder IS NULL OR (
  SELECT 1 FROM workflow_inbox i WHERE i.run_id = r.run_id AND i.kind = 'cancel' AND NOT i.consumed LIMIT 1) IS NULL)
 LIMIT :limit""")

_EVENTS = sa.text("""SELECT run_id, event_seq, event_type, step_id, payload_json, created_at FROM workflow_events
 WHERE run_id = :run_id AND event_seq > :since ORDER BY event_seq LIMIT :limit""")

_NEWS = sa.text("""SELECT e.* FROM unnest(CAST(:ids AS text[]), CAST(:after AS bigint[])) AS w (run_id, since)
 CROSS JOIN LATERAL (SELECT run_id, event_seq, event_type, step_id, payload_json, created_at FROM workflow_events
  WHERE run_id = w.run_id AND event_seq > w.since ORDER BY event_seq LIMIT :limit) e ORDER BY 1, 2""")


_GLANCE = f"""SELECT (SELECT wake_at FROM workflow_runs WHERE wake_at IS NOT NULL AND holder IS NULL
  AND status NOT IN ('paused', {", ".join(f"'{status.value}'" for status in sorted(TERMINAL))})
  ORDER BY wake_at LIMIT 1),
 EXISTS (SELECT 1 FROM workflow_queues WHERE paused OR concurrency_limit IS NOT NULL),
 EXISTS (SELECT 1 FROM workflow_runs WHERE {READY}) OR EXISTS (SELECT 1 FROM workflow_runs WHERE {READY_IN_LANES}),
 EXISTS (SELECT 1 FROM workflow_runs r WHERE r.holder = :holder
  AND (SELECT 1 FROM workflow_inbox i WHERE i.run_id = r.run_id AND NOT i.consumed LIMIT 1) IS NOT NULL),
 {{deaths}}, {{fleet}}"""
"""What a poll asks first; what it says no to is not asked for, which is all of it while nothing happens."""


class Readable(Protocol):
    """The part of a backend that reads need.

    ``deaths`` and ``fleet`` are expressions in its SQL: whether to ask for dead holders, and how many live processes
    take runs.
    """

    deaths: str
    fleet: str

    def read(self, fn: Callable[[sa.Connection], T]) -> T:
        """Run ``fn`` with a read-only connection."""
        ...

    def dead_holders(self, connection: sa.Connection) -> list[str]:
        """Return holders whose runs must be taken over."""
        ...

    def lease_holds(self, connection: sa.Connection, holder: str) -> bool:
        """Say whether a lease is live."""
        ...


class SqlReader:
    """``engine.ports.Reader`` over SQLAlchemy."""

    def __init__(self, backend: Readable) -> None:
        self._backend = backend
        self._glance = sa.text(_GLANCE.format(deaths=backend.deaths, fleet=backend.fleet))

    def get_run(self, run_id: str) -> RunView | None:
        """Return a run, or None."""
        query = sa.select(workflow_runs).where(workflow_runs.c.run_id == run_id)
        found = self._backend.read(lambda connection: views(connection, connection.execute(query).mappings()))
        return found[0] if found else None

    def list_runs(self, query: RunFilter) -> list[RunView]:
        """Return runs, newest first."""

        def read(connection: sa.Connection) -> list[RunView]:
            with one_moment(connection):
                return views(connection, _listed(connection, query))

        return self._backend.read(read)

    def ended(self, run_ids: Sequence[str]) -> list[Ended]:
        """Return those of the runs that have ended."""
        runs = workflow_runs.c
        query = sa.select(runs.run_id, runs.status, runs.outputs_json, runs.error).where(
            runs.run_id.in_(run_ids), runs.status.in_(sorted(TERMINAL))
        )
        rows = self._backend.read(lambda connection: connection.execute(query).all())
        return [Ended(row[0], row[1], text(row[2] if row[2] is not None else row[3])) for row in rows]

    def events(self, run_id: str, since: int, limit: int) -> list[Event]:
        """Return events after ``since``, in order."""
        return self.news({run_id: since}, limit)

    def news(self, since: Mapping[str, int], limit: int) -> list[Event]:
        """Return events of several runs, each after a number of its own."""
        return self._backend.read(lambda connection: _news(connection, since, limit))

    def poll(self, holder: str, codes: Sequence[str], now: int, rules: LaneRules = LaneRules()) -> Poll:  # noqa: B008
        """Answer the once-a-second question of a process."""
        return self._backend.read(lambda connection: self._poll(connection, holder, codes, now, rules))

    def _poll(self, connection: sa.Connection, holder: str, codes: Sequence[str], now: int, rules: LaneRules) -> Poll:
        soonest, limited, ready, written, deaths, fleet = connection.execute(self._glance, {"holder": holder}).one()
        queues = workflow_queues.c
        query = sa.select(queues.queue).where(sa.or_(queues.paused, queues.concurrency_limit.is_not(None)))
        due = soonest is not None and soonest <= now
        can_claim = bool(codes) and (due or (bool(ready) and claimable(connection, codes, rules)))
        return Poll(
            can_claim,
            soonest,
            self._inbox(connection, holder) if written else [],
            self._backend.dead_holders(connection) if deaths else [],
            frozenset(connection.execute(query).scalars() if limited else ()),
            fleet,
        )

    @staticmethod
    def _inbox(connection: sa.Connection, holder: str) -> list[InboxRow]:
        c = workflow_inbox.c
        query = (
            sa.select(c.inbox_id, c.run_id, c.kind, c.name, c.dedup_id, c.payload_json, c.created_at)
            .join(workflow_runs, workflow_runs.c.run_id == c.run_id)
            .where(sa.not_(c.consumed), workflow_runs.c.holder == holder)
            .order_by(c.arrival)
        )
        rows = connection.execute(query).all()
        return [InboxRow(*row[:5], text(row[5]) or "null", micros(row[6])) for row in rows]

    def orphaned(self, limit: int) -> list[str]:
        """Return ids of ended runs with open children that have not been told to cancel."""
        return self._backend.read(lambda connection: [*connection.execute(_ORPHANED, {"limit": limit}).scalars()])

    def lease_is_live(self, holder: str) -> bool:
        """Say whether a lease is live."""
        return self._backend.read(lambda connection: self._backend.lease_holds(connection, holder))


def _news(connection: sa.Connection, since: Mapping[str, int], limit: int) -> list[Event]:
    """Read events; PostgreSQL is asked once for all runs, SQLite is no journey away."""
    if connection.dialect.name == "postgresql":
        given = {"ids": [*since], "after": [*since.values()], "limit": limit}
        rows = connection.execute(_NEWS, given).all()
    else:
        asked = ({"run_id": run_id, "since": seq, "limit": limit} for run_id, seq in since.items())
        rows = [row for one in asked for row in connection.execute(_EVENTS, one)]
    return [Event(r[0], r[1], r[2], r[3], text(r[4]) or "{}", micros(r[5])) for r in rows]


def _listed(connection: sa.Connection, query: RunFilter) -> Iterable[Any]:
    runs = workflow_runs.c
    conditions = narrowed(
        failing=query.failing,
        attempt_gte=query.attempt_gte,
        waiting_on=query.waiting_on,
        error_class=query.error_class,
    )
    if query.queue is not None:
        conditions += in_queue(query.queue)
    if query.created_after is not None:
        conditions.append(runs.created_at >= query.created_after)
    if query.created_before is not None:
        conditions.append(runs.created_at <= query.created_before)
    if query.before is not None:
        at, run_id = query.before
        last = sa.tuple_(sa.literal(at, runs.created_at.type), sa.literal(run_id, runs.run_id.type))
        conditions.append(sa.tuple_(runs.created_at, runs.run_id) < last)
    few = query.failing or query.attempt_gte is not None or query.parent_run_id is not None
    if few:
        if query.status:
            conditions.append(not_by_index(runs.status).in_(query.status))
        if query.name is not None:
            conditions.append(not_by_index(runs.name) == query.name)
        if query.sight is not None:
            conditions.append(seen(query.sight))
    slices = _few(connection, query) if few else _slices(connection, query)
    if query.error_class is not None and not few:
        slices = [one for whole in slices for one in with_error(connection, query.error_class, whole)]
    return connection.execute(page(list(runs), conditions, slices, query.limit)).mappings()


def _few(connection: sa.Connection, query: RunFilter) -> list[Condition]:
    """Return the slices of what is few, and has indexes of its own."""
    if query.parent_run_id is not None:
        return [workflow_runs.c.parent_run_id == query.parent_run_id]
    tenants = None if query.sight is None else query.sight.tenants
    return in_trouble(connection, None if query.failing else query.attempt_gte, tenants)


def _slices(connection: sa.Connection, query: RunFilter) -> list[Condition]:
    """Return the slices of the runs that somebody may look at: by name, and by owner what only some may see."""
    name, sight = query.name, query.sight
    statuses = possible(query.status, query.waiting_on, query.error_class)
    found = kinds(connection, statuses) if name is None else [(status, name) for status in statuses]
    if sight is None:
        return [of_kind(status, name) for status, name in found]
    seen_by_all = workflow_runs.c.tenant_id.in_(sight.tenants)
    slices = [sa.and_(of_kind(*kind), seen_by_all) for kind in found if kind[1] not in sight.closed]
    if sight.tenant is None:
        return slices
    closed = [(status, kind) for status, kind in found if kind in sight.closed]
    return slices + [of_somebody(*kind, sight.tenant, sight.owner) for kind in closed]


def leases(connection: sa.Connection) -> list[tuple[str, str]]:
    """Return ``(holder, state)`` of every lease; those of the dead go once their runs have been taken over."""
    query = sa.select(workflow_leases.c.holder, workflow_leases.c.state)
    return [(row[0], row[1]) for row in connection.execute(query)]


def text(value: object) -> str | None:
    """Return a JSON column as JSON text, whichever way the driver gave it."""
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def iso(value: Any) -> str | None:
    """Return a time stamp as ISO 8601 text, whichever way the driver gave it."""
    if value is None or isinstance(value, str):
        return value
    return to_iso(from_datetime(value))


def micros(value: Any) -> int:
    """Return a time stamp as microseconds."""
    return from_iso(value) if isinstance(value, str) else from_datetime(value)


def views(connection: sa.Connection, rows: Iterable[Any]) -> list[RunView]:
    """Return run rows as readers see them."""
    found = [_view(row) for row in rows]
    asked = {run.run_id: run.last_seq for run in found if run.history_from_seq == ASK}
    if not asked:
        return found
    begins = whole_from(connection, asked)
    return [replace(run, history_from_seq=begins.get(run.run_id, run.history_from_seq)) for run in found]


def _view(row: Any) -> RunView:
    return RunView(
        run_id=row["run_id"], name=row["name"], status=row["status"], status_reason=row["status_reason"],
        wait_reason=row["wait_reason"], queue=row["queue"], priority=row["priority"], tenant_id=row["tenant_id"],
        owner=row["user_id"], key=row["key"], interface_version=row["interface_version"],
        parent_run_id=row["parent_run_id"], workflow_id=row["workflow_id"], holder=row["holder"],
        deaths=row["deaths"], last_seq=row["last_seq"],
        history_from_seq=row["history_from_seq"], attributes=_loads(row["attributes"]) or {},
        inputs=_loads(row["inputs_json"]), outputs=_loads(row["outputs_json"]), error=_loads(row["error"]),
        created_at=iso(row["created_at"]) or "", started_at=iso(row["started_at"]), ended_at=iso(row["ended_at"]),
        wake_at=None if row["wake_at"] is None else to_iso(row["wake_at"]),
    )  # fmt: skip


def _loads(value: object) -> Any:
    return orjson.loads(value) if isinstance(value, str) else value
