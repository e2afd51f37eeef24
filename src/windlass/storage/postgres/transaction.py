"""The engine's primitives on PostgreSQL.

Each primitive is one statement whatever the number of rows. Those that only write are queued and travel with the
next one that must read, or with the COMMIT; what is wrong with them shows then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any

import orjson
import psycopg
import sqlalchemy as sa

from windlass.engine.errors import TransactionLost
from windlass.engine.ports import IdempotencyRow, RunOutcome
from windlass.engine.types import ClaimedRun, Event, InboxRow, LaneClaim, Lease, NewRun, RunHead
from windlass.kernel.collection import uncollected
from windlass.kernel.lanes import LaneRules
from windlass.storage.batches import ConnectionLost
from windlass.storage.postgres import sql
from windlass.storage.postgres.claims import Holds, claim
from windlass.storage.postgres.hints import Hints
from windlass.storage.postgres.lanes import Asked, Beside, ask_seats, claim_lanes, take_seats
from windlass.storage.postgres.names import to_psycopg
from windlass.storage.postgres.wire import Reply, Wire
from windlass.storage.state import TransactionState

GRACE_SECONDS = 5.0
"""User code may be silent for so much longer than its statements may run."""


_written = attrgetter(
    "run_id", "status", "status_reason", "wait_reason", "holder", "last_seq", "claim_rank", "ready_at", "wake_at",
    "deaths", "started_at",
)  # fmt: skip


class PostgresTransaction(TransactionState):
    """One open transaction; see ``engine.ports.Transaction`` for the meaning of each method.

    Args:
        wire: its connection.
        view: SQLAlchemy's view of the same connection.
        hints: what transactions of this session usually ask, asked beforehand.
        writer: the session's id; its marker row is the first thing written.
        marker: what the commit leaves there.
    """

    def __init__(self, wire: Wire, view: sa.Connection, hints: Hints, writer: str, marker: int) -> None:
        super().__init__()
        self._wire = wire
        self._view = view
        self._hints = hints
        self._mark = (writer, marker)
        self._depth = 0
        self._late = False
        self._lease_asked: tuple[str, Reply] | None = None
        self._queues_asked: Reply | None = None
        self._beside: Beside | None = None
        self._holds = Holds(wire)
        self._seats_asked: Asked | None = None
        hints.begin()
        self._begin()
        if hints.queues:
            self._queues_asked = self._ask_queues()
        self._begun = (wire.trips, wire.pending)

    def _begin(self) -> None:
        wire, holder, self._beside = self._wire, self._hints.holder, None
        wire.changed = False
        wire.send(sql.BEGIN)
        mark, mark_and_lease = sql.MARK, sql.MARK_AND_LEASE
        if wire.raw.pooled:
            wire.send(sql.POOLED)
            mark, mark_and_lease = sql.FENCED_MARK, sql.FENCED_MARK_AND_LEASE
        if holder is None:
            wire.send(mark, *self._mark)
        else:
            self._lease_asked = (holder, wire.send(mark_and_lease, *self._mark, holder))

    def _write(self, statement: str, rows: Sequence[object]) -> None:
        if rows:
            self._wire.send(statement, orjson.dumps(rows, default=tuple))

    def close(self) -> None:
        """Have everything on its way that is to be committed."""
        self._holds.write()

    # ownership
    def lease_is_live(self, holder: str) -> bool:
        live = self._live.get(holder)
        if live is None:
            if self._depth == 0 and not self._late:
                self._hints.asked_lease(holder)
            asked, self._lease_asked = self._lease_asked, None
            if asked is None or asked[0] != holder:
                asked = (holder, self._wire.send(sql.LEASE, holder))
            live = self._live[holder] = bool(self._answer(asked[1]))
        return live

    def code_done(self, holder: str) -> None:
        self._late = True  # the next one must not ask beforehand: it would lock the lease while user code works
        self._lease_asked = (holder, self._wire.send(sql.LEASE, holder))

    def _answer(self, reply: Reply) -> list[tuple[Any, ...]]:
        if not reply.tag:
            self._wire.settle()
        return reply.rows

    def add_lease(self, lease: Lease, ttl: float) -> None:
        self._wire.send(sql.ADD_LEASE, lease.holder, lease.host, lease.pid, lease.workflows, str(ttl))
        self._live[lease.holder] = True

    def end_lease(self, holder: str, *, force: bool) -> bool:
        self._wire.send(sql.FORCE_LEASE if force else sql.END_LEASE, holder)
        states = self._wire.ask(sql.LEASE_STATE, holder)
        dead = not states or states[0][0] != "live"
        if dead:
            self._live[holder] = False
        return dead

    def forget_lease(self, holder: str) -> None:
        self._wire.send(sql.FORGET_LEASE, holder)

    def dead_holders(self) -> list[str]:
        return [row[0] for row in self._wire.ask(sql.DEAD_HOLDERS)]

    def held_runs(self, holder: str, limit: int) -> list[str]:
        return [row[0] for row in self._wire.ask(sql.HELD, holder, limit)]

    # runs
    def lock_runs(self, run_ids: Iterable[str]) -> Mapping[str, RunHead]:
        wanted = list(run_ids)
        self._touch(wanted)
        heads = self.heads
        missing = [run_id for run_id in wanted if run_id not in heads]
        if missing:
            for row in self._wire.ask(sql.LOCK, orjson.dumps(missing)):
                heads[row[0]] = RunHead(*row)
        return {run_id: heads[run_id] for run_id in wanted if run_id in heads}

    def insert_runs(self, runs: Sequence[NewRun]) -> None:
        self._beside = self._seats_asked = None
        self._write(
            sql.INSERT_RUNS,
            [
                (
                    r.run_id, r.tenant_id, r.name, r.interface_version, r.status, r.owner, r.queue, r.key, r.priority,
                    r.ready_at, r.wake_at, r.holder, r.last_seq, r.parent_run_id, r.workflow_id, r.on_end,
                    r.attributes, r.inputs, r.created_at, r.started_at, r.lane, r.ageing,
                )
                for r in runs
            ],
        )  # fmt: skip

    def bump_runs(self, heads: Sequence[RunHead]) -> None:
        self._write(sql.BUMP, [(head.run_id, head.last_seq, head.deaths) for head in heads])

    def note_failures(self, rows: Sequence[tuple[str, int]]) -> None:
        self._write(sql.FAILURES, rows)

    def bind_runs(self, rows: Sequence[tuple[str, str]]) -> None:
        self._write(sql.BIND, rows)

    def write_heads(self, heads: Sequence[RunHead]) -> None:
        self._beside = None
        self._holds.written(heads)
        self._write(sql.WRITE, [_written(head) for head in heads])

    def finish_runs(self, rows: Sequence[RunOutcome]) -> None:
        self._beside = None
        self._holds.written(head for head, *_ in rows)
        self._write(sql.FINISH, [(*_written(head), *outcome) for head, *outcome in rows])

    def open_children(self, run_ids: Sequence[str], limit: int) -> list[str]:
        return [row[0] for row in self._wire.ask(sql.CHILDREN, orjson.dumps(run_ids), limit)]

    def claim_ready(
        self, holder: str, codes: Sequence[str], queues: Sequence[str] | None, limit: int
    ) -> list[ClaimedRun]:
        if self._beside is not None and not self._beside.others.rows:
            return []
        taken = claim(self._holds, holder, codes, queues, limit)
        self._touch(run.head.run_id for run in taken)
        self.heads.update((run.head.run_id, run.head) for run in taken)
        return taken

    def claim_lanes(
        self, holder: str, codes: Sequence[str], queues: Sequence[str] | None, limit: int, rules: LaneRules, cursor: str
    ) -> LaneClaim:
        self._beside = Beside(self._wire.send(sql.ANY), self._wire.send(sql.NEXT_WAKE))
        found = claim_lanes(self._holds, holder, codes, queues, limit, rules, cursor)
        self._touch(run.head.run_id for run in found.runs)
        self.heads.update((run.head.run_id, run.head) for run in found.runs)
        return found

    def take_seats(self, runs: Sequence[NewRun], rules: LaneRules, now: int) -> frozenset[str]:
        asked, self._seats_asked = self._seats_asked or ask_seats(self._wire, runs), None
        self._answer(asked.families)
        return take_seats(self._wire, runs, rules, now, asked)

    def promote_due(self, now: int, limit: int) -> None:
        self._beside = None
        self._wire.send(sql.PROMOTE, now, limit)

    def next_wake(self) -> int | None:
        found = self._wire.ask(sql.NEXT_WAKE) if self._beside is None else self._beside.wake.rows
        return found[0][0] if found else None

    # journal
    def append_events(self, events: Sequence[Event]) -> None:
        self.written += events
        self._write(sql.EVENTS, events)

    def load_events(self, run_ids: Sequence[str]) -> dict[str, list[Event]]:
        rows = self._wire.ask(sql.LOAD_EVENTS, orjson.dumps(run_ids))
        with uncollected(len(rows)):
            rows.sort()
            places = groupby(rows, itemgetter(0))
            return {run_ids[at - 1]: [Event(run_ids[at - 1], *row[1:]) for row in part] for at, part in places}

    # inbox
    def add_inbox(self, rows: Sequence[InboxRow]) -> set[str]:
        self._write(sql.INBOX, rows)
        ids = [row.inbox_id for row in rows if row.dedup_id is not None]
        if not ids:
            return set()
        return set(ids).difference(row[0] for row in self._wire.ask(sql.INBOX_KEPT, orjson.dumps(ids)))

    def load_inbox(self, run_ids: Sequence[str]) -> dict[str, list[InboxRow]]:
        boxes: dict[str, list[InboxRow]] = {}
        for row in self._wire.ask(sql.LOAD_INBOX, orjson.dumps(run_ids)):
            boxes.setdefault(row[1], []).append(InboxRow(*row))
        return boxes

    def consume_inbox(self, inbox_ids: Sequence[str]) -> None:
        self._write(sql.CONSUME, inbox_ids)
        self._write(sql.DISCARD, inbox_ids)

    # idempotency
    def claim_keys(self, rows: Sequence[IdempotencyRow], now: int) -> dict[tuple[str, str], IdempotencyRow]:
        first: dict[tuple[str, str], IdempotencyRow] = {}
        for row in rows:
            first.setdefault((row.scope, row.key), row)
        ordered = [first[key] for key in sorted(first)]
        found = self._wire.ask(sql.KEYS, orjson.dumps(ordered, default=tuple), now) if ordered else []
        return {(row[0], row[1]): IdempotencyRow(*row) for row in found}

    # queues
    def set_queue(self, queue: str, limit: int | None, paused: bool) -> None:
        wire = self._wire
        wire.send(sql.CHANGE_LIMITS)
        wire.send(sql.PUT_QUEUE, queue, limit, paused)
        wire.send(sql.CUT_SLOTS, queue, limit)
        if limit is not None:
            wire.send(sql.SEAT_HELD, queue)
            wire.send(sql.ADD_SLOTS, queue, limit)
        self._restricted = self._queues_asked = None

    def restricted_queues(self, born: Sequence[NewRun] = ()) -> frozenset[str]:
        if self._restricted is None:
            laned = [run for run in born if run.lane]
            self._seats_asked = ask_seats(self._wire, laned) if laned else None
            self._hints.asked_queues()
            asked, self._queues_asked = self._queues_asked, None
            found = self._answer(asked or self._ask_queues())
            self._restricted = frozenset(row[0] for row in found)
        return self._restricted

    def _ask_queues(self) -> Reply:
        self._wire.send(sql.SHARE_LIMITS)
        return self._wire.send(sql.RESTRICTED)

    def free_slots(self, run_ids: Sequence[str]) -> None:
        self._write(sql.FREE_SLOTS, run_ids)
        self._write(sql.FREE_SEATS, self._in_lanes(run_ids))

    def set_limit(self, name: str, most: int | None) -> None:
        if most is None:
            self._wire.send(sql.UNSET_LIMIT, name)
        else:
            self._wire.send(sql.SET_LIMIT, name, most)

    def set_weight(self, tenant: str, weight: int) -> None:
        self._wire.send(sql.SET_WEIGHT, tenant, weight)

    # for contexts and user code
    @property
    def connection(self) -> sa.Connection:
        self._holds.write()
        return self._view

    def insert_rows(self, table: sa.Table, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self._write(sql.insert(table, tuple(columns)), rows)

    def execute(self, sql: str, params: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ()) -> psycopg.Cursor[Any]:
        self._holds.write()
        cursor = psycopg.ClientCursor(self._wire.door())
        if params and not isinstance(params, Mapping):
            cursor.executemany(to_psycopg(sql), params)
            return cursor
        return cursor.execute(to_psycopg(sql), params or {})

    @contextmanager
    def savepoint(self, seconds: float | None = None) -> Iterator[None]:
        with self._taking_back(), self._point(seconds):
            yield

    @contextmanager
    def _point(self, seconds: float | None) -> Iterator[None]:
        """Open a savepoint and close it; one in which nothing reached the database costs nothing.

        The first one is the transaction itself, where nothing but its beginning comes before.

        Raises:
            TransactionLost: the database cannot go on with the transaction, or a unit's queued writes turn out to
                be wrong once its code has returned: its neighbours are written anew then.
        """
        wire = self._wire
        self._holds.write()
        before, trips, planned = wire.pending, wire.trips, wire.planned
        name = "" if (trips, before) == self._begun and self._depth == 0 else f"w{self._depth}"
        self._depth += 1
        if name:
            wire.send(f"SAVEPOINT {name}")
        if seconds is not None:
            wire.plan(sql.TIMEOUTS, int(seconds * 1000), int((seconds + GRACE_SECONDS) * 1000), ours=False)
        opened = wire.pending
        over = False
        try:
            yield
            over = True
            if wire.trips == trips and wire.pending == opened:
                wire.forget(before, planned)
            else:
                self._release(name, patient=seconds is not None)
        except BaseException as error:
            if wire.lost:
                raise TransactionLost("the connection is gone") from ConnectionLost(str(error))
            self._lease_asked = self._beside = self._seats_asked = None
            self._holds.forget()
            if wire.trips == trips:
                wire.forget(before, planned)
            else:
                self._take_back(name, error)
            if isinstance(error, ConnectionLost) or (over and self._depth == 1):
                raise TransactionLost(str(error)) from error
            raise
        finally:
            self._depth -= 1

    def _release(self, name: str, *, patient: bool) -> None:
        """Close a savepoint; what was wrong with the writes inside shows here."""
        wire = self._wire
        written = wire.pending
        if patient:
            wire.plan(sql.USUAL_PATIENCE, ours=True)
            wire.send(sql.NO_TIMEOUT)
        if name:
            wire.send(f"RELEASE {name}")
        elif wire.trips != self._begun[0] and not wire.sound:
            wire.ask("SELECT 1")  # a transaction that has failed says so
            raise TransactionLost("the transaction had been ended by somebody else")
        if written:
            wire.settle()

    def _take_back(self, name: str, error: BaseException) -> None:
        try:
            if name:
                self._wire.take_back(name)
            else:
                self._wire.rollback()
                self._queues_asked = None
                self._begin()
        except ConnectionLost as lost:
            raise TransactionLost(str(lost)) from lost
        except psycopg.Error:
            raise TransactionLost("the transaction had failed before this unit") from error
