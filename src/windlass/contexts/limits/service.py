"""Limits in force: counting against them, looking at them, changing them while all is running."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from windlass.contexts.limits import counting
from windlass.contexts.limits.depth import Depth, waiting
from windlass.contexts.limits.model import (
    DEPTHS,
    EVERYBODY,
    WINDOWS,
    Limit,
    LimitExceeded,
    Options,
    Override,
    QueueFull,
    Standing,
    Subject,
    check_limit,
    check_subject,
    check_value,
    window,
)
from windlass.contexts.limits.starting import CountRequests, Knock, StartCounted
from windlass.contexts.limits.tables import workflow_limits, workflow_usage
from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.engine.types import Started, StartRequest
from windlass.kernel.actors import WORKFLOWS_ADMIN, Actor
from windlass.kernel.clock import SECOND, to_iso
from windlass.kernel.rounds import Rounds
from windlass.storage.queries import iso
from windlass.storage.stats import MOST_COUNTED

TIDY_SECONDS = 60.0
TIDY_ROWS = 1000
REMEMBERED_SECONDS = 1.0
"""For so long a caller over its rate is refused from memory: a flood of requests writes nothing."""
MOST_REMEMBERED = 10_000
PAGE = 500
_SET = """INSERT INTO workflow_limits (tenant_id, user_id, limit_name, value, updated_at, updated_by)
 VALUES (:tenant_id, :user_id, :limit_name, :value, :updated_at, :updated_by)
 ON CONFLICT (tenant_id, user_id, limit_name)
 DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at, updated_by = excluded.updated_by"""

Record = Callable[[Transaction, Actor, str, str, object, object], None]
"""Writes into the audit log: who, what, to what, before, after."""


class Limits:
    """The limits of one database.

    Args:
        engine: its database and clock.
        options: what the settings say.
        record: writes changes into the audit log.
    """

    def __init__(self, engine: Engine, options: Options, record: Record) -> None:
        self.options = options
        self._engine = engine
        self._record = record
        self._depth = Depth(engine, options.values)
        self._start = StartCounted(options, self._depth)
        self._requests = CountRequests(options)
        self._refused: dict[tuple[Subject, Limit], tuple[float, LimitExceeded]] = {}
        self._keeping = Rounds("windlass-limits", self.tidy, lambda: TIDY_SECONDS, self._not_kept)

    # counting
    async def begin(self, request: StartRequest) -> Started:
        """Start a run of a definition, counted in its transaction.

        Raises:
            LimitExceeded: its owner's quota is used up.
            QueueFull: too many runs wait.
        """
        tenant_id = request.run.tenant_id
        await self._depth.look(tenant_id)
        try:
            started = await self._engine.begin(request, op=self._start)
        except (LimitExceeded, QueueFull) as refusal:
            self._tell(refusal.limit)
            raise
        if started.created and started.holder is None:
            self._depth.add(tenant_id)
        return started

    def begin_in(self, tx: Transaction, request: StartRequest) -> Started:
        """Start a run in an open transaction; see ``begin``."""
        self._depth.look_in(tx.connection, request.run.tenant_id)
        try:
            return self._engine.begin_in(tx, request, self._start)
        except (LimitExceeded, QueueFull) as refusal:
            self._tell(refusal.limit)
            raise

    async def request(self, actor: Actor, limit: Limit) -> None:
        """Count a request against its rate.

        Raises:
            LimitExceeded: the caller has made as many as it may in this minute.
        """
        if not self.options.rates:
            return
        subject, now = Subject(actor.tenant_id, actor.user_id), self._engine.clock.monotonic()
        until, refusal = self._refused.get((subject, limit), (0.0, None))
        if refusal is None or until <= now or self._engine.clock.now() >= refusal.reset_at * SECOND:
            knock = Knock(subject, limit, self._engine.clock.now())
            try:
                await self._engine.commits.submit(self._requests, knock, bounded=True)
            except LimitExceeded as refused:
                if len(self._refused) >= MOST_REMEMBERED:
                    self._refused.clear()
                self._refused[subject, limit] = (now + REMEMBERED_SECONDS, refused)
                self._tell(limit)
                raise
            self._refused.pop((subject, limit), None)
            return
        self._tell(limit)
        raise LimitExceeded(limit, refusal.allowed, self._engine.clock.now())

    def _tell(self, limit: Limit) -> None:
        self._engine.worker.telemetry.count("workflows_starts_refused", limit=limit.value)

    # looking
    async def overrides(
        self, by: Actor, tenant_id: str | None = None, after: Sequence[str] = (), limit: int = PAGE
    ) -> list[dict[str, Any]]:
        """Return limits other than the settings', by tenant, user and name: of the caller's tenant and of all.

        Args:
            by: an administrator of workflows.
            tenant_id: another tenant, or ``*`` for every one; only to operators.
            after: tenant, user and name of the last one of the page before.
            limit: how many.

        Raises:
            Forbidden: only administrators of workflows may.
        """
        by.require(WORKFLOWS_ADMIN)
        whose = _tenant(by, tenant_id)
        c = workflow_limits.c
        key = (c.tenant_id, c.user_id, c.limit_name)
        query = sa.select(workflow_limits).order_by(*key).limit(limit)
        if whose != EVERYBODY:
            query = query.where(c.tenant_id.in_([whose, EVERYBODY]))
        if after:
            query = query.where(sa.tuple_(*key) > sa.tuple_(*after))
        rows = await self._engine.read(lambda connection: connection.execute(query).all())
        return [_override(row).shown() for row in rows]

    async def standing(self, by: Actor, user_id: str, tenant_id: str | None = None) -> list[dict[str, Any]]:
        """Return every limit in force for a user, where it is from, and what is used of it.

        Raises:
            Forbidden: only administrators of workflows may look at others.
        """
        if user_id != by.user_id or tenant_id is not None:
            by.require(WORKFLOWS_ADMIN)
        subject, now = Subject(_tenant(by, tenant_id), user_id), self._engine.clock.now()

        def look(connection: sa.Connection) -> list[dict[str, Any]]:
            found = counting.resolved(counting.overrides_of(connection, subject), self.options.values)
            used = counting.used(connection, subject, now)
            return [self._standing(connection, subject, limit, found[limit], used, now)._asdict() for limit in found]

        return await self._engine.read(look)

    @staticmethod
    def _standing(
        connection: sa.Connection,
        subject: Subject,
        limit: Limit,
        in_force: tuple[int | None, str],
        used: dict[Limit, int],
        now: int,
    ) -> Standing:
        value, source = in_force
        if limit in DEPTHS:
            whose = subject.tenant_id if limit is Limit.DEPTH else None
            return Standing(
                limit.value, value, source, waiting(connection, whose, MOST_COUNTED if value is None else value), None
            )
        resets = to_iso((window(limit, now) + WINDOWS[limit]) * SECOND)
        return Standing(limit.value, value, source, used[limit], resets)

    # changing
    async def change(
        self, by: Actor, limit_name: str, value: int | None, user_id: str | None = None, tenant_id: str | None = None
    ) -> dict[str, Any]:
        """Set a limit of a user, or without one of all users of a tenant; it is in force at once.

        Args:
            by: who does it; written into the audit log.
            limit_name: one of ``Limit``.
            value: how much; None is no limit.
            user_id: whose; None is the tenant's.
            tenant_id: the caller's own when it is None; another, or ``*`` for all, only to operators.

        Raises:
            Forbidden: only administrators of workflows may, and within their tenant.
            Invalid: there is no such limit, or it is not of a user; names what is wrong.
        """
        limit, subject = self._named(by, limit_name, user_id, tenant_id)
        made = Override(
            *subject, limit, check_value(value), to_iso(self._engine.clock.now()), by.user_id
        )  # fmt: skip

        def put(tx: Transaction) -> None:
            before = _find(tx.connection, subject, limit)
            row = {**made._asdict(), "limit_name": limit.value}
            del row["limit"]
            tx.execute(_SET, row)
            self._record(tx, by, "limit.set", _target(subject, limit), before, {"value": made.value})

        await self._engine.transact(put)
        self._renew()
        return made.shown()

    async def clear(self, by: Actor, limit_name: str, user_id: str | None = None, tenant_id: str | None = None) -> bool:
        """Take an override away: what is less special is in force again. False: there was none.

        Raises:
            Forbidden, Invalid: see ``change``.
        """
        limit, subject = self._named(by, limit_name, user_id, tenant_id)
        c = workflow_limits.c
        wanted = sa.delete(workflow_limits).where(
            c.tenant_id == subject.tenant_id, c.user_id == subject.user_id, c.limit_name == limit.value
        )

        def drop(tx: Transaction) -> bool:
            before = _find(tx.connection, subject, limit)
            if before is None:
                return False
            tx.connection.execute(wanted)
            self._record(tx, by, "limit.clear", _target(subject, limit), before, None)
            return True

        cleared = await self._engine.transact(drop)
        self._renew()
        return cleared

    def _named(self, by: Actor, limit_name: str, user_id: str | None, tenant_id: str | None) -> tuple[Limit, Subject]:
        by.require(WORKFLOWS_ADMIN)
        limit = check_limit(limit_name)
        return limit, check_subject(limit, _tenant(by, tenant_id), EVERYBODY if user_id is None else user_id)

    def _renew(self) -> None:
        self._refused.clear()
        self._depth.forget()

    # housekeeping
    async def start(self) -> None:
        """Begin to delete windows that are over."""
        self._keeping.start()

    async def stop(self) -> None:
        """Stop doing so."""
        await self._keeping.stop()

    def _not_kept(self, error: Exception) -> None:
        self._engine.worker.telemetry.event("limits.not_tidied", error=str(error))

    async def tidy(self) -> int:
        """Delete windows that are over, in batches; returns how many."""
        gone = 0
        while True:
            found = await self._engine.transact(self._forget)
            gone += found
            if found < TIDY_ROWS:
                return gone

    def _forget(self, tx: Transaction) -> int:
        c = workflow_usage.c
        key = (c.tenant_id, c.user_id, c.limit_name, c.window_start)
        old = sa.select(*key).where(c.expires_at <= self._engine.clock.now()).order_by(c.expires_at).limit(TIDY_ROWS)
        return int(tx.connection.execute(sa.delete(workflow_usage).where(sa.tuple_(*key).in_(old))).rowcount)


def _tenant(by: Actor, tenant_id: str | None) -> str:
    """Return the tenant that is meant: others than their own are there for operators alone."""
    return tenant_id if tenant_id is not None and by.kind == "operator" else by.tenant_id


def _target(subject: Subject, limit: Limit) -> str:
    return f"limit:{subject.tenant_id}/{subject.user_id}/{limit.value}"


def _find(connection: sa.Connection, subject: Subject, limit: Limit) -> dict[str, Any] | None:
    c = workflow_limits.c
    query = sa.select(c.value).where(
        c.tenant_id == subject.tenant_id, c.user_id == subject.user_id, c.limit_name == limit.value
    )
    row = connection.execute(query).first()
    return None if row is None else {"value": row[0]}


def _override(row: Any) -> Override:
    return Override(
        row.tenant_id, row.user_id, Limit(row.limit_name), row.value, iso(row.updated_at) or "", row.updated_by
    )
