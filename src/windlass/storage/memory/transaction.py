"""The engine's primitives over dicts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count, islice
from typing import Any

import sqlalchemy as sa

from windlass.engine.continuing import latest
from windlass.engine.ports import IdempotencyRow, RunOutcome
from windlass.engine.types import RESUMED, ClaimedRun, Event, InboxRow, LaneClaim, Lease, NewRun, RunHead
from windlass.kernel.lanes import LaneRules, limits_of
from windlass.storage import lite
from windlass.storage.lanes.choosing import Open, fitting, in_turn, is_due, more, places, seats, turns
from windlass.storage.memory.lanes import Asking
from windlass.storage.memory.leases import LeaseRow, micros
from windlass.storage.memory.runs import RunRow, Shelf, new_row
from windlass.storage.memory.store import InboxEntry, MemoryStore, QueueRow, Turn
from windlass.storage.state import TransactionState, copied


class MemoryTransaction(TransactionState):
    """One open transaction; see ``engine.ports.Transaction`` for the meaning of each method."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self._store = store
        self._points = count(1)

    # ownership
    def lease_is_live(self, holder: str) -> bool:
        live = self._live.get(holder)
        if live is None:
            live = self._live[holder] = self._store.is_live(holder)
        return live

    def add_lease(self, lease: Lease, ttl: float) -> None:
        self._store.leases.insert(lease.holder, LeaseRow(lease, self._store.clock.now(), micros(ttl)))
        self._live.pop(lease.holder, None)

    def end_lease(self, holder: str, *, force: bool) -> bool:
        if self.lease_is_live(holder) and not force:
            return False
        row = self._store.leases.get(holder)
        if row is not None:
            self._store.leases.put(holder, row._replace(dead=True))
        self._live[holder] = False
        return True

    def forget_lease(self, holder: str) -> None:
        row = self._store.leases.get(holder)
        if row is not None and row.dead and not self._store.runs.held_by(holder):
            self._store.leases.remove(holder)

    def dead_holders(self) -> list[str]:
        return self._store.dead_holders()

    def held_runs(self, holder: str, limit: int) -> list[str]:
        return self._store.runs.held_by(holder)[:limit]

    # runs
    def lock_runs(self, run_ids: Iterable[str]) -> Mapping[str, RunHead]:
        wanted = list(run_ids)
        self._touch(wanted)
        for run_id in wanted:
            row = self._store.runs.get(run_id)
            if row is not None and run_id not in self.heads:
                self.heads[run_id] = copied(row.head)
        return {run_id: self.heads[run_id] for run_id in wanted if run_id in self.heads}

    def insert_runs(self, runs: Sequence[NewRun]) -> None:
        for run in runs:
            self._store.runs.insert(run.run_id, new_row(run))

    def bump_runs(self, heads: Sequence[RunHead]) -> None:
        for head in heads:
            row = self._store.runs[head.run_id]
            kept = copied(row.head)
            kept.last_seq, kept.deaths = head.last_seq, head.deaths
            self._store.runs.put(head.run_id, row._replace(head=kept))

    def note_failures(self, rows: Sequence[tuple[str, int]]) -> None:
        for run_id, attempt in rows:
            row = self._store.runs[run_id]
            self._store.runs.put(run_id, row._replace(failed_attempts=max(row.failed_attempts or 0, attempt)))

    def bind_runs(self, rows: Sequence[tuple[str, str]]) -> None:
        for run_id, version in rows:
            row = self._store.runs[run_id]
            self._store.runs.put(run_id, row._replace(born=replace(row.born, interface_version=version)))

    def write_heads(self, heads: Sequence[RunHead]) -> None:
        for head in heads:
            row = self._store.runs[head.run_id]
            self._store.runs.put(head.run_id, row._replace(head=copied(head)))

    def finish_runs(self, rows: Sequence[RunOutcome]) -> None:
        for head, outputs, error, ended_at in rows:
            row = self._store.runs[head.run_id]
            news = row._replace(head=copied(head), outputs=outputs, error=error, ended_at=ended_at)
            self._store.runs.put(head.run_id, news)

    def open_children(self, run_ids: Sequence[str], limit: int) -> list[str]:
        children = (child for run_id in run_ids for child in self._store.runs.children_of(run_id))
        return list(islice(filter(self._store.is_forsaken, children), limit))

    def claim_ready(
        self, holder: str, codes: Sequence[str], queues: Sequence[str] | None, limit: int
    ) -> list[ClaimedRun]:
        known = frozenset(codes)
        chosen = None if queues is None else frozenset(queues)

        def wanted(shelf: Shelf) -> bool:
            queue, code = shelf
            return code in known and (chosen is None or queue in chosen) and self._store.room(queue) > 0

        taken: list[ClaimedRun] = []
        for row in self._store.runs.ready(wanted):
            if len(taken) >= limit or self._store.room("*") <= 0:
                break
            taken.append(self._hold(row, holder))
        return taken

    def claim_lanes(
        self, holder: str, codes: Sequence[str], queues: Sequence[str] | None, limit: int, rules: LaneRules, cursor: str
    ) -> LaneClaim:
        store = self._store
        door = Open(codes, queues, store.closed_queues())
        found = Asking(store, rules).plan(cursor, limit, door)
        rows = {
            row.born.run_id: row for lane, many in found.plan.wanted.items() for row in store.runs.ready_in(lane, many)
        }
        runs = []
        for planned in in_turn(found.plan, (row.claimed() for row in rows.values()), door, None):
            if min(store.room("*"), store.room(planned.head.queue)) > 0:
                run = self._hold(rows[planned.head.run_id], holder)
                runs.append(run)
                for name, run_id in seats([run]):
                    store.seats.insert((name, run_id), True)
        for tenant, turn, lane in turns(found.plan, runs):
            known = store.turns.get(tenant) or Turn()
            store.turns.put(tenant, Turn(known.weight, known.turn if turn is None else turn, lane))
        return LaneClaim(runs, more(found.plan, runs, found.cursor), found.cursor)

    def take_seats(self, runs: Sequence[NewRun], rules: LaneRules, now: int) -> frozenset[str]:
        if is_due(self.next_wake(), now):
            return frozenset()
        fit, moved = fitting(runs, *Asking(self._store, rules).of_births(runs), rules)
        for place in places(fit):
            self._store.seats.insert(place, True)
        for tenant, turn, lane in moved:
            self._store.turns.put(tenant, (self._store.turns.get(tenant) or Turn())._replace(turn=turn, lane=lane))
        return frozenset(run.run_id for run in fit)

    def _hold(self, row: RunRow, holder: str) -> ClaimedRun:
        run = row.claimed()
        head = run.head
        head.holder, head.ready_at, head.claim_rank = holder, None, RESUMED
        self._touch([head.run_id])
        self.heads[head.run_id] = head
        self.write_heads([head])
        for queue in ("*", head.queue):
            self._take_slot(queue, head.run_id)
        return run

    def promote_due(self, now: int, limit: int) -> None:
        runs = self._store.runs
        moved = 0
        while moved < limit and (due := runs.next_wake()) is not None and due[0] <= now:
            row = runs[due[1]]
            head = copied(row.head)
            head.ready_at, head.wake_at = head.wake_at, None
            runs.put(due[1], row._replace(head=head))
            moved += 1

    def next_wake(self) -> int | None:
        due = self._store.runs.next_wake()
        return None if due is None else due[0]

    # journal
    def append_events(self, events: Sequence[Event]) -> None:
        self.written += events
        for event in events:
            self._store.events.insert((event.run_id, event.seq), event)

    def load_events(self, run_ids: Sequence[str]) -> dict[str, list[Event]]:
        journals = {run_id: latest(self._store.events.of(run_id), "")[0] for run_id in run_ids}
        return {run_id: list(events) for run_id, events in journals.items() if events}

    # inbox
    def add_inbox(self, rows: Sequence[InboxRow]) -> set[str]:
        inbox = self._store.inbox
        refused = set()
        for row in rows:
            if row.dedup_id is not None and (row.run_id, row.name, row.dedup_id) in inbox.seen:
                refused.add(row.inbox_id)
            elif row.inbox_id not in inbox:
                self._store.arrivals += 1
                inbox.put(row.inbox_id, InboxEntry(row, self._store.arrivals))
        return refused

    def load_inbox(self, run_ids: Sequence[str]) -> dict[str, list[InboxRow]]:
        boxes = {run_id: self._store.inbox.unread_of(run_id) for run_id in run_ids}
        return {run_id: rows for run_id, rows in boxes.items() if rows}

    def consume_inbox(self, inbox_ids: Sequence[str]) -> None:
        inbox = self._store.inbox
        for inbox_id in inbox_ids:
            entry = inbox.get(inbox_id)
            if entry is not None and entry.row.dedup_id is not None:
                inbox.put(inbox_id, entry._replace(consumed=True))
            else:
                inbox.remove(inbox_id)

    # idempotency
    def claim_keys(self, rows: Sequence[IdempotencyRow], now: int) -> dict[tuple[str, str], IdempotencyRow]:
        keys = self._store.keys
        for row in rows:
            held = keys.get((row.scope, row.key))
            if held is not None and held.expires_at <= now:
                keys.remove((row.scope, row.key))
        for row in rows:
            if (row.scope, row.key) not in keys:
                keys.insert((row.scope, row.key), row)
        return {(row.scope, row.key): keys[row.scope, row.key] for row in rows}

    # queues
    def set_queue(self, queue: str, limit: int | None, paused: bool) -> None:
        self._store.queues.put(queue, QueueRow(limit, paused))
        self._restricted = None
        places = self._store.slots.of(queue)
        if limit is None:
            for run_id in list(places):
                self._store.slots.remove((queue, run_id))
            return
        runs = self._store.runs
        for run_id in runs.held():
            if queue in {"*", runs[run_id].born.queue} and run_id not in places:
                self._take_slot(queue, run_id)

    def restricted_queues(self, born: Sequence[NewRun] = ()) -> frozenset[str]:  # noqa: ARG002  asking takes no time
        if self._restricted is None:
            self._restricted = self._store.restricted_queues()
        return self._restricted

    def free_slots(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            for queue in ("*", self._store.runs[run_id].born.queue):
                self._store.slots.remove((queue, run_id))
            lane = self._store.runs[run_id].born.lane
            for name in limits_of(lane) if lane else ():
                self._store.seats.remove((name, run_id))

    def set_limit(self, name: str, most: int | None) -> None:
        if most is None:
            self._store.limits.remove(name)
        else:
            self._store.limits.put(name, most)

    def set_weight(self, tenant: str, weight: int) -> None:
        self._store.turns.put(tenant, (self._store.turns.get(tenant) or Turn())._replace(weight=weight))

    def _take_slot(self, queue: str, run_id: str) -> None:
        row = self._store.queues.get(queue)
        if row is not None and row.limit is not None:
            taken = set(self._store.slots.of(queue).values())
            free = next(number for number in range(1, len(taken) + 2) if number not in taken)
            self._store.slots.insert((queue, run_id), free)

    # for contexts and user code
    @property
    def connection(self) -> sa.Connection:
        return self._store.sql

    def insert_rows(self, table: sa.Table, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        lite.insert_rows(self._store.raw, table, columns, rows)

    def execute(self, sql: str, params: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ()) -> sqlite3.Cursor:
        return lite.execute(self._store.raw, sql, params)

    @contextmanager
    def savepoint(self, seconds: float | None = None) -> Iterator[None]:
        undo = self._store.undo
        mark = undo.mark()
        with self._taking_back():
            try:
                with lite.savepoint(self._store.raw, f"w{next(self._points)}", seconds):
                    yield
            except BaseException:
                undo.rewind(mark)
                raise
