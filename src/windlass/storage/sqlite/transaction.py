"""The engine's primitives on SQLite.

On the committer's thread each primitive is one statement whatever the number of rows: rows travel as one JSON
parameter and come back as one JSON value. sqlite3 gives the interpreter lock up at every row it steps over, and a
busy event loop takes milliseconds to hand it back; a statement that steps once pays that once. Where the event loop
itself writes (``alone``) nobody is there to take the lock, and binding row by row is twice as fast as JSON.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from operator import attrgetter
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from windlass.engine.ports import IdempotencyRow, RunOutcome
from windlass.engine.types import TERMINAL, ClaimedRun, Event, InboxRow, LaneClaim, Lease, NewRun, RunHead
from windlass.kernel.clock import from_iso, to_iso
from windlass.kernel.lanes import LaneRules
from windlass.storage import lite
from windlass.storage import rows as shapes
from windlass.storage.lanes.choosing import is_due
from windlass.storage.sqlite.claims import claim
from windlass.storage.sqlite.folder import RunFolder
from windlass.storage.sqlite.journals import load_events
from windlass.storage.sqlite.known import KnownHeads
from windlass.storage.sqlite.lanes import claim_lanes, take_seats
from windlass.storage.state import TransactionState

_OPEN = "(" + ",".join(f"'{status.value}'" for status in sorted(TERMINAL)) + ")"


def _array(columns: Sequence[str], prefix: str = "") -> str:
    return "json_array(" + ",".join(prefix + column for column in columns) + ")"


def _values(columns: Sequence[str], source: str = "value") -> str:
    return ",".join(f"{source}->>{place}" for place in range(len(columns)))


class _Rows(NamedTuple):
    """One change of many rows, written for one JSON parameter and for a parameter per value."""

    packed: str
    each: str

    @classmethod
    def insert(cls, table: str, columns: Sequence[str]) -> _Rows:
        into = f"INSERT INTO {table} ({','.join(columns)})"
        places = ",".join("?" * len(columns))
        return cls(f"{into} SELECT {_values(columns)} FROM json_each(?)", f"{into} VALUES ({places})")

    @classmethod
    def update(cls, table: str, columns: Sequence[str], *, changed: bool = False) -> _Rows:
        """Update by the first column; ``changed`` leaves rows alone that have those values already."""

        def written(source: str, values: Sequence[str]) -> str:
            first, *others = zip(columns, values, strict=True)
            told = ",".join(f"{column} = {value}" for column, value in others)
            news = " OR ".join(f"{column} IS NOT {value}" for column, value in others)
            where = f"{first[0]} = {first[1]}" + (f" AND ({news})" if changed else "")
            return f"UPDATE {table} SET {told}{source} WHERE {where}"

        places = range(len(columns))
        return cls(
            written(" FROM json_each(?) v", [f"v.value->>{place}" for place in places]),
            written("", [f"?{place + 1}" for place in places]),
        )


_LOCK = f"""SELECT json_group_array({_array(shapes.HEAD)}) FROM workflow_runs
 WHERE run_id IN (SELECT value FROM json_each(?))"""
_BUMP = _Rows.update("workflow_runs", ("run_id", "last_seq", "deaths"))
_WRITTEN = (
    "run_id", "status_reason", "wait_reason", "holder", "last_seq", "claim_rank", "ready_at", "wake_at", "deaths",
)  # fmt: skip
_written = attrgetter(*_WRITTEN)
_WRITE = _Rows.update("workflow_runs", _WRITTEN)
_STAND = _Rows.update("workflow_runs", ("run_id", "status", "started_at"), changed=True)
"""Apart from the rest, and only where it changes anything: SQLite writes every index of a column that is set, whether
its value is another or not, and the status is in most of them. A run that parks and goes on keeps both."""
_FAILURES = """UPDATE workflow_runs SET failed_attempts = max(coalesce(failed_attempts, 0), v.value->>1)
 FROM json_each(?) v WHERE run_id = v.value->>0"""
_BIND = _Rows.update("workflow_runs", ("run_id", "interface_version"))
_FINISH = _Rows.update("workflow_runs", (*_WRITTEN, "status", "started_at", "outputs_json", "error", "ended_at"))
_EVENTS = _Rows.insert("workflow_events", shapes.EVENTS)
_RUNS = _Rows.insert("workflow_runs", shapes.RUNS)
_INBOX = f"""INSERT INTO workflow_inbox ({",".join(shapes.INBOX)}) SELECT {_values(shapes.INBOX)} FROM json_each(?)
 WHERE true ON CONFLICT DO NOTHING"""
_INBOX_KEPT = """SELECT json_group_array(inbox_id) FROM workflow_inbox
 WHERE inbox_id IN (SELECT value FROM json_each(?))"""
_LOAD_INBOX = f"""SELECT json_group_array({_array(shapes.INBOX)}) FROM (SELECT * FROM workflow_inbox
 WHERE run_id IN (SELECT value FROM json_each(?)) AND NOT consumed ORDER BY run_id, arrival)"""
_CONSUME = """UPDATE workflow_inbox SET consumed = 1
 WHERE inbox_id IN (SELECT value FROM json_each(?)) AND dedup_id IS NOT NULL"""
_DISCARD = """DELETE FROM workflow_inbox
 WHERE inbox_id IN (SELECT value FROM json_each(?)) AND dedup_id IS NULL"""
_CHILDREN = f"""SELECT json_group_array(run_id) FROM (SELECT run_id FROM workflow_runs r WHERE status NOT IN {_OPEN}
 AND parent_run_id IN (SELECT value FROM json_each(?)) AND (holder IS NULL OR (
  SELECT 1 FROM workflow_inbox i WHERE i.run_id = r.run_id AND i.kind = 'cancel' AND NOT i.consumed LIMIT 1) IS NULL)
 LIMIT ?)"""
_TIMED = f"wake_at IS NOT NULL AND holder IS NULL AND status NOT IN ('paused', {_OPEN[1:]}"
_PROMOTE = f"""UPDATE workflow_runs SET ready_at = wake_at, wake_at = NULL
 WHERE run_id IN (SELECT run_id FROM workflow_runs WHERE wake_at <= ? AND {_TIMED} ORDER BY wake_at LIMIT ?)"""
_NEXT_WAKE = f"SELECT wake_at FROM workflow_runs WHERE {_TIMED} ORDER BY wake_at LIMIT 1"
_SEAT_HELD = """INSERT INTO workflow_queue_slots (queue, slot, run_id) SELECT :queue,
 (SELECT coalesce(max(slot), 0) FROM workflow_queue_slots WHERE queue = :queue) + row_number() OVER (ORDER BY run_id),
 run_id FROM workflow_runs WHERE holder IS NOT NULL AND :queue IN (queue, '*')
 AND run_id NOT IN (SELECT run_id FROM workflow_queue_slots WHERE queue = :queue AND run_id IS NOT NULL)"""

_FREE_SEATS = "DELETE FROM workflow_seats WHERE run_id IN (SELECT value FROM json_each(?))"


class SqliteTransaction(TransactionState):
    """One open ``BEGIN IMMEDIATE`` transaction; see ``engine.ports.Transaction`` for the meaning of each method."""

    def __init__(
        self, raw: sqlite3.Connection, connection: sa.Connection, folder: RunFolder, known: KnownHeads, *, alone: bool
    ) -> None:
        super().__init__()
        self._alone = alone
        self._known = known
        self._raw = raw
        self._connection = connection
        self._folder = folder
        self._points = count(1)
        self._changes = raw.total_changes
        self._lent = False

    @property
    def idle(self) -> bool:
        """Whether nothing has been changed since this was made; SQLite does not count what user code does to tables."""
        return not self._lent and self._raw.total_changes == self._changes

    def leave(self) -> None:
        """Have the heads known that the commit has left, unless code that is not ours may have changed them too."""
        if self._lent:
            self._known.forget()
        else:
            self._known.keep(self.heads.values())

    def _json(self, sql: str, *params: object) -> list[Any]:
        found: list[Any] = orjson.loads(self._raw.execute(sql, params).fetchone()[0])
        return found

    def _run(self, sql: str, rows: Sequence[object]) -> None:
        if rows:
            self._raw.execute(sql, (orjson.dumps(rows).decode(),))

    def _change(self, change: _Rows, rows: Sequence[Sequence[object]]) -> None:
        if self._alone:
            self._raw.executemany(change.each, rows)
        else:
            self._run(change.packed, rows)

    # ownership
    def lease_is_live(self, holder: str) -> bool:
        live = self._live.get(holder)
        if live is None:
            row = self._raw.execute("SELECT state FROM workflow_leases WHERE holder = ?", (holder,)).fetchone()
            live = self._live[holder] = row is not None and row[0] == "live"
        return live

    def add_lease(self, lease: Lease, ttl: float) -> None:
        self._raw.execute(
            "INSERT INTO workflow_leases (holder, host, pid, state, workflows, started_at, expires_at)"
            " VALUES (?, ?, ?, 'live', ?, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'),"
            " strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?))",
            (lease.holder, lease.host, lease.pid, lease.workflows, f"+{ttl} seconds"),
        )
        self._live[lease.holder] = True

    def end_lease(self, holder: str, *, force: bool) -> bool:
        if self.lease_is_live(holder) and not force and not self._folder.holder_is_dead(holder):
            return False
        self._raw.execute("UPDATE workflow_leases SET state = 'dead' WHERE holder = ?", (holder,))
        self._live[holder] = False
        return True

    def forget_lease(self, holder: str) -> None:
        self._raw.execute(
            "DELETE FROM workflow_leases WHERE holder = :holder AND state <> 'live'"
            " AND NOT EXISTS (SELECT 1 FROM workflow_runs WHERE holder = :holder)",
            {"holder": holder},
        )

    def dead_holders(self) -> list[str]:
        leases = self._json("SELECT json_group_array(json_array(holder, state)) FROM workflow_leases")
        return [holder for holder, state in leases if state != "live" or self._folder.holder_is_dead(holder)]

    def held_runs(self, holder: str, limit: int) -> list[str]:
        return self._json(
            "SELECT json_group_array(run_id) FROM (SELECT run_id FROM workflow_runs WHERE holder = ?"
            " ORDER BY run_id LIMIT ?)",
            holder,
            limit,
        )

    # runs
    def lock_runs(self, run_ids: Iterable[str]) -> Mapping[str, RunHead]:
        wanted = list(run_ids)
        self._touch(wanted)
        heads = self.heads
        missing = [run_id for run_id in wanted if run_id not in heads and not self._known.give(run_id, heads)]
        if missing:
            for row in self._json(_LOCK, orjson.dumps(missing).decode()):
                heads[row[0]] = RunHead(*row)
        return {run_id: heads[run_id] for run_id in wanted if run_id in heads}

    def insert_runs(self, runs: Sequence[NewRun]) -> None:
        self._change(_RUNS,
            [
                (
                    r.run_id, r.tenant_id, r.name, r.interface_version, r.status, r.owner, r.queue, r.key, r.priority,
                    r.ready_at, r.wake_at, r.holder, r.last_seq, r.parent_run_id, r.workflow_id, r.on_end,
                    r.attributes, r.inputs, to_iso(r.created_at),
                    None if r.started_at is None else to_iso(r.started_at), r.lane, r.ageing,
                )
                for r in runs
            ],
        )  # fmt: skip
        self._known.bear(runs)

    def bump_runs(self, heads: Sequence[RunHead]) -> None:
        self._change(_BUMP, [(head.run_id, head.last_seq, head.deaths) for head in heads])

    def note_failures(self, rows: Sequence[tuple[str, int]]) -> None:
        self._run(_FAILURES, rows)

    def bind_runs(self, rows: Sequence[tuple[str, str]]) -> None:
        self._change(_BIND, rows)

    def write_heads(self, heads: Sequence[RunHead]) -> None:
        self._change(_WRITE, [_written(head) for head in heads])
        self._change(_STAND, [(head.run_id, head.status, head.started_at) for head in heads])

    def finish_runs(self, rows: Sequence[RunOutcome]) -> None:
        self._change(
            _FINISH,
            [
                (*_written(head), head.status, head.started_at, outputs, error, None if at is None else to_iso(at))
                for head, outputs, error, at in rows
            ],
        )

    def open_children(self, run_ids: Sequence[str], limit: int) -> list[str]:
        return self._json(_CHILDREN, orjson.dumps(run_ids).decode(), limit)

    def claim_ready(
        self, holder: str, codes: Sequence[str], queues: Sequence[str] | None, limit: int
    ) -> list[ClaimedRun]:
        taken = claim(self._raw, holder, codes, queues, limit)
        self._hand_out(taken)
        return taken

    def claim_lanes(
        self, holder: str, codes: Sequence[str], queues: Sequence[str] | None, limit: int, rules: LaneRules, cursor: str
    ) -> LaneClaim:
        found = claim_lanes(self._raw, holder, codes, queues, limit, rules, cursor)
        self._hand_out(found.runs)
        return found

    def _hand_out(self, runs: Sequence[ClaimedRun]) -> None:
        self._touch(run.head.run_id for run in runs)
        self.heads.update((run.head.run_id, run.head) for run in runs)
        self._known.hand_out(runs)

    def take_seats(self, runs: Sequence[NewRun], rules: LaneRules, now: int) -> frozenset[str]:
        return frozenset() if is_due(self.next_wake(), now) else take_seats(self._raw, runs, rules)

    def promote_due(self, now: int, limit: int) -> None:
        self._raw.execute(_PROMOTE, (now, limit))

    def next_wake(self) -> int | None:
        row = self._raw.execute(_NEXT_WAKE).fetchone()
        return None if row is None else int(row[0])

    # journal
    def append_events(self, events: Sequence[Event]) -> None:
        self.written += events
        self._change(_EVENTS, [(*event[:5], to_iso(event[5])) for event in events])

    def load_events(self, run_ids: Sequence[str]) -> dict[str, list[Event]]:
        return load_events(self._raw, run_ids)

    # inbox
    def add_inbox(self, rows: Sequence[InboxRow]) -> set[str]:
        self._run(_INBOX, [(*row[:6], to_iso(row[6])) for row in rows])
        ids = [row.inbox_id for row in rows if row.dedup_id is not None]
        return set(ids).difference(self._json(_INBOX_KEPT, orjson.dumps(ids).decode())) if ids else set()

    def load_inbox(self, run_ids: Sequence[str]) -> dict[str, list[InboxRow]]:
        boxes: dict[str, list[InboxRow]] = {}
        for row in self._json(_LOAD_INBOX, orjson.dumps(run_ids).decode()):
            boxes.setdefault(row[1], []).append(
                InboxRow(row[0], row[1], row[2], row[3], row[4], row[5], from_iso(row[6]))
            )
        return boxes

    def consume_inbox(self, inbox_ids: Sequence[str]) -> None:
        ids = orjson.dumps(inbox_ids).decode()
        self._raw.execute(_CONSUME, (ids,))
        self._raw.execute(_DISCARD, (ids,))

    # idempotency
    def claim_keys(self, rows: Sequence[IdempotencyRow], now: int) -> dict[tuple[str, str], IdempotencyRow]:
        packed = orjson.dumps([tuple(row) for row in rows]).decode()
        columns = "scope, key, run_id, request_hash, expires_at"
        self._raw.execute(
            "DELETE FROM workflow_idempotency WHERE expires_at <= ? AND (scope, key) IN"
            " (SELECT value->>0, value->>1 FROM json_each(?))",
            (now, packed),
        )
        self._raw.execute(
            f"INSERT INTO workflow_idempotency ({columns}) SELECT {_values(columns.split(','))} FROM json_each(?)"
            " WHERE true ON CONFLICT DO NOTHING",
            (packed,),
        )
        found = self._json(
            f"SELECT json_group_array(json_array({columns})) FROM workflow_idempotency WHERE (scope, key) IN"
            " (SELECT value->>0, value->>1 FROM json_each(?))",
            packed,
        )
        return {(row[0], row[1]): IdempotencyRow(*row) for row in found}

    # queues
    def set_queue(self, queue: str, limit: int | None, paused: bool) -> None:
        self._raw.execute(
            "INSERT INTO workflow_queues (queue, concurrency_limit, paused) VALUES (?, ?, ?)"
            " ON CONFLICT (queue) DO UPDATE SET concurrency_limit = excluded.concurrency_limit,"
            " paused = excluded.paused",
            (queue, limit, paused),
        )
        self._raw.execute(
            "DELETE FROM workflow_queue_slots WHERE queue = ? AND (run_id IS NULL OR ? IS NULL)", (queue, limit)
        )
        if limit is not None:
            self._raw.execute(_SEAT_HELD, {"queue": queue})
            self._raw.executemany(
                "INSERT INTO workflow_queue_slots (queue, slot) VALUES (?, ?) ON CONFLICT DO NOTHING",
                [(queue, slot) for slot in range(1, limit + 1)],
            )
        self._restricted = None

    def restricted_queues(self, born: Sequence[NewRun] = ()) -> frozenset[str]:  # noqa: ARG002  asking takes no time
        if self._restricted is None:
            found = self._json(
                "SELECT json_group_array(queue) FROM workflow_queues WHERE paused OR concurrency_limit IS NOT NULL"
            )
            self._restricted = frozenset(found)
        return self._restricted

    def free_slots(self, run_ids: Sequence[str]) -> None:
        if run_ids:
            self._run(
                "UPDATE workflow_queue_slots SET run_id = NULL WHERE run_id IN (SELECT value FROM json_each(?))",
                run_ids,
            )
            self._run(_FREE_SEATS, self._in_lanes(run_ids))

    def set_limit(self, name: str, most: int | None) -> None:
        self._raw.execute("DELETE FROM workflow_concurrency WHERE name = ?", (name,))
        if most is not None:
            self._raw.execute("INSERT INTO workflow_concurrency (name, most) VALUES (?, ?)", (name, most))

    def set_weight(self, tenant: str, weight: int) -> None:
        self._raw.execute(
            "INSERT INTO workflow_turns (tenant, weight) VALUES (?, ?)"
            " ON CONFLICT (tenant) DO UPDATE SET weight = excluded.weight",
            (tenant, weight),
        )

    # for contexts and user code
    @property
    def connection(self) -> sa.Connection:
        self._lent = True
        return self._connection

    def insert_rows(self, table: sa.Table, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        lite.insert_rows(self._raw, table, columns, rows)

    def execute(self, sql: str, params: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ()) -> sqlite3.Cursor:
        self._lent = True
        return lite.execute(self._raw, sql, params)

    @contextmanager
    def savepoint(self, seconds: float | None = None) -> Iterator[None]:
        with (
            self._taking_back(),
            self._known.unborn_after_failure(),
            lite.savepoint(self._raw, f"w{next(self._points)}", seconds),
        ):
            yield
