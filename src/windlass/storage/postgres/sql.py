"""The engine's statements on PostgreSQL.

Rows travel as one JSON array of arrays, ids as one JSON array: of the set-based forms it costs the client least by
far and the server no more than ``unnest``. Times are microseconds here and ``TIMESTAMPTZ`` there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from windlass.engine.history import CONTINUED
from windlass.engine.types import RESUMED, TERMINAL
from windlass.storage import rows as shapes
from windlass.storage import schema
from windlass.storage.waiting import CLOSED_QUEUES, WAITING_QUEUES
from windlass.storage.waiting import READY as WAITING

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_TIMES = frozenset({"created_at", "started_at", "ended_at"})
_ENDED = "(" + ",".join(f"'{status.value}'" for status in sorted(TERMINAL)) + ")"
_ROWS = "FROM jsonb_array_elements($1::jsonb) v"

IDLE_SECONDS = 5.0
"""How long the server waits for us inside a transaction: a process that stopped there gives its locks back then."""
LOCK_MILLISECONDS = 5000
"""How long a transaction of ours waits for a lock before it gives up and is tried again."""
SETTINGS = {
    "jit": "off",
    "lock_timeout": str(LOCK_MILLISECONDS),
    "idle_in_transaction_session_timeout": str(int(IDLE_SECONDS * 1000)),
    "windlass.idle": str(int(IDLE_SECONDS * 1000)),
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
}
"""Settings of a session that writes. Our statements find rows by index: a plan made while the tables were small
would otherwise be kept as they grow, and a wrong guess of the planner would wake the JIT compiler. To plan a claim
anew takes longer than to carry it out."""


def settings(idle_seconds: float) -> dict[str, str]:
    """Return them with the server's patience inside a transaction, which user code's comes back to."""
    idle = str(max(1, int(idle_seconds * 1000)))
    return {**SETTINGS, "idle_in_transaction_session_timeout": idle, "windlass.idle": idle}


SAFE_COMMITS = """SELECT set_config('synchronous_commit', 'on', false)
 WHERE current_setting('synchronous_commit') IN ('off', 'local')"""
_LOCAL = ",".join(f"set_config('{name}', '{value}', true)" for name, value in {"timezone": "UTC", **SETTINGS}.items())
POOLED = f"""SELECT {_LOCAL}, CASE WHEN current_setting('synchronous_commit') IN ('off', 'local')
 THEN set_config('synchronous_commit', 'on', true) END"""
"""The same for one transaction: through a pooler, what is set for longer is set for others."""


def ids(parameter: str) -> str:
    """Return a text array made of a JSON array."""
    return f"ARRAY(SELECT jsonb_array_elements_text({parameter}::jsonb))"


def kind(column: sa.Column[object]) -> str:
    """Return the name of a column's type, for casts."""
    return column.type.compile(_DIALECT).partition(" COLLATE ")[0]


def from_micros(value: str) -> str:
    """Return microseconds since 1970 as a time stamp."""
    return f"'epoch'::timestamptz + ({value})::bigint * interval '1 microsecond'"


def to_micros(column: str) -> str:
    """Return a time stamp as microseconds since 1970."""
    return f"(extract(epoch FROM {column}) * 1000000)::bigint"


def to_iso(column: str) -> str:
    """Return a time stamp as ISO 8601 text in UTC with six decimals and ``Z``."""
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


@lru_cache(maxsize=256)
def insert(table: sa.Table, columns: tuple[str, ...]) -> str:
    """Return an INSERT of rows given as one JSON array of arrays; time stamps are ISO 8601 text."""
    return _insert(table, [f"(v->>{at})::{kind(table.c[name])}" for at, name in enumerate(columns)], columns)


def _insert(table: sa.Table, values: Sequence[str], columns: Sequence[str]) -> str:
    names = _DIALECT.identifier_preparer
    quoted = ",".join(names.quote(name) for name in columns)
    return f"INSERT INTO {names.format_table(table)} ({quoted}) SELECT {','.join(values)} {_ROWS}"


def _ours(table: sa.Table, columns: tuple[str, ...]) -> str:
    values = [
        from_micros(f"v->>{at}") if name in _TIMES else f"(v->>{at})::{kind(table.c[name])}"
        for at, name in enumerate(columns)
    ]
    return _insert(table, values, columns)


def _read(table: sa.Table, columns: tuple[str, ...], prefix: str = "") -> str:
    read = []
    for name in columns:
        if kind(table.c[name]) == "JSONB":
            read.append(f"{prefix}{name}::text")
        elif name in _TIMES:
            read.append(to_micros(prefix + name))
        else:
            read.append(prefix + name)
    return ",".join(read)


_HEAD = ",".join(to_iso(column) if column == "started_at" else column for column in shapes.HEAD)
RUN = f"{_HEAD},{_read(schema.workflow_runs, shapes.CLAIMED)}"

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
MARK = """INSERT INTO workflow_commits AS c (writer, marker) VALUES ($1, $2)
 ON CONFLICT (writer) DO UPDATE SET marker = excluded.marker"""
FENCED_MARK = f"{MARK} / CASE WHEN abs(c.marker) < excluded.marker THEN 1 ELSE 0 END"
"""Through a pooler. Fails, and with it the transaction, where the same marker or a later one has been asked for: one
that was said not to be there must not come in late."""
LEASE = """SELECT 1 FROM workflow_leases
 WHERE holder = $1 AND state = 'live' AND expires_at > clock_timestamp() FOR KEY SHARE"""
MARK_AND_LEASE, FENCED_MARK_AND_LEASE = (
    f"WITH marked AS ({mark}) {LEASE.replace('$1', '$3')}" for mark in (MARK, FENCED_MARK)
)
SETTLE = """INSERT INTO workflow_commits AS c (writer, marker) VALUES ($1, -$2::bigint)
 ON CONFLICT (writer) DO UPDATE SET marker = CASE c.marker WHEN $2 THEN c.marker ELSE -$2::bigint END
 RETURNING c.marker"""
"""What is not there by now is never to be: the negative marker fences it off, where that is looked at."""
UNMARK = "DELETE FROM workflow_commits WHERE writer = $1"
BACKEND = "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"
OLD_BACKEND = """SELECT coalesce(wait_event, '') FROM pg_stat_activity
 WHERE pid = $1::int AND backend_start = $2::timestamptz"""
END_OLD_BACKEND = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE pid = $1::int AND backend_start = $2::timestamptz"""

# ownership
ADD_LEASE = """INSERT INTO workflow_leases (holder, host, pid, state, workflows, started_at, expires_at)
 VALUES ($1, $2, $3, 'live', $4, clock_timestamp(), clock_timestamp() + $5::float8 * interval '1 second')"""
END_LEASE = """UPDATE workflow_leases SET state = 'dead' WHERE holder IN (SELECT holder FROM workflow_leases
 WHERE holder = $1 AND state = 'live' AND expires_at <= clock_timestamp() FOR UPDATE SKIP LOCKED)"""
FORCE_LEASE = """UPDATE workflow_leases SET state = 'dead' WHERE holder IN (SELECT holder FROM workflow_leases
 WHERE holder = $1 AND state = 'live' FOR UPDATE)"""
LEASE_STATE = "SELECT state FROM workflow_leases WHERE holder = $1"
RENEW = """UPDATE workflow_leases SET expires_at = clock_timestamp() + $2::float8 * interval '1 second'
 WHERE holder = $1 AND state = 'live' RETURNING (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"""
TIME = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
FORGET_LEASE = """DELETE FROM workflow_leases WHERE holder = $1 AND state <> 'live'
 AND NOT EXISTS (SELECT 1 FROM workflow_runs WHERE holder = $1)"""
DEAD_HOLDERS = "SELECT holder FROM workflow_leases WHERE state <> 'live' OR expires_at <= clock_timestamp()"
HELD = "SELECT run_id FROM workflow_runs WHERE holder = $1 ORDER BY run_id LIMIT $2"

# runs
LOCK = f"SELECT {_HEAD} FROM workflow_runs WHERE run_id = ANY ({ids('$1')}) ORDER BY run_id FOR NO KEY UPDATE"
INSERT_RUNS = _ours(schema.workflow_runs, shapes.RUNS)
BUMP = f"""UPDATE workflow_runs r SET last_seq = (v->>1)::bigint, deaths = (v->>2)::smallint
 {_ROWS} WHERE r.run_id = v->>0"""
FAILURES = f"""UPDATE workflow_runs r SET failed_attempts = greatest(r.failed_attempts, (v->>1)::smallint)
 {_ROWS} WHERE r.run_id = v->>0"""
BIND = f"UPDATE workflow_runs r SET interface_version = v->>1 {_ROWS} WHERE r.run_id = v->>0"
_WRITE = """UPDATE workflow_runs r SET status = v->>1, status_reason = v->>2, wait_reason = v->>3, holder = v->>4,
 last_seq = (v->>5)::bigint, claim_rank = (v->>6)::smallint, ready_at = (v->>7)::bigint,
 wake_at = (v->>8)::bigint, deaths = (v->>9)::smallint, started_at = (v->>10)::timestamptz"""
WRITE = f"{_WRITE} {_ROWS} WHERE r.run_id = v->>0"
FINISH = f"""{_WRITE}, outputs_json = (v->>11)::jsonb, error = (v->>12)::jsonb,
 ended_at = {from_micros("v->>13")} {_ROWS} WHERE r.run_id = v->>0"""
CHILDREN = f"""SELECT run_id FROM workflow_runs r
 WHERE parent_run_id = ANY ({ids("$1")}) AND status NOT IN {_ENDED} AND (holder IS NULL OR (
  SELECT 1 FROM workflow_inbox i WHERE i.run_id = r.run_id AND i.kind = 'cancel' AND NOT i.consumed LIMIT 1) IS NULL)
 LIMIT $2"""
HOLD = f"""UPDATE workflow_runs SET holder = $1, ready_at = NULL, claim_rank = {RESUMED}
 WHERE run_id = ANY ({ids("$2")})"""
_TIMED = f"wake_at IS NOT NULL AND holder IS NULL AND status NOT IN ('paused', {_ENDED[1:]}"
PROMOTE = f"""UPDATE workflow_runs r SET ready_at = r.wake_at, wake_at = NULL FROM (SELECT run_id FROM workflow_runs
 WHERE wake_at <= $1 AND {_TIMED} ORDER BY wake_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED) due
 WHERE r.run_id = due.run_id"""
NEXT_WAKE = f"SELECT wake_at FROM workflow_runs WHERE {_TIMED} ORDER BY wake_at LIMIT 1"

# journal and inbox
EVENTS = _ours(schema.workflow_events, shapes.EVENTS)
LOAD_EVENTS = f"""SELECT w.place, e.* FROM jsonb_array_elements_text($1::jsonb) WITH ORDINALITY w (id, place)
 CROSS JOIN LATERAL (SELECT {_read(schema.workflow_events, shapes.EVENTS[1:])} FROM workflow_events
 WHERE run_id = w.id COLLATE "C" AND event_seq >= (SELECT coalesce(max(event_seq), 1) FROM workflow_events
 WHERE run_id = w.id COLLATE "C" AND event_type = '{CONTINUED}') ORDER BY event_seq) e"""
"""Not ordered as a whole: to sort takes longer than to read."""
INBOX = f"{_ours(schema.workflow_inbox, shapes.INBOX)} ON CONFLICT DO NOTHING"
INBOX_KEPT = f"SELECT inbox_id FROM workflow_inbox WHERE inbox_id = ANY ({ids('$1')})"
LOAD_INBOX = f"""SELECT {_read(schema.workflow_inbox, shapes.INBOX)} FROM workflow_inbox
 WHERE run_id = ANY ({ids("$1")}) AND NOT consumed ORDER BY run_id, arrival"""
CONSUME = f"""UPDATE workflow_inbox SET consumed = true
 WHERE inbox_id = ANY ({ids("$1")}) AND num_nulls(dedup_id) = 0"""
DISCARD = f"DELETE FROM workflow_inbox WHERE inbox_id = ANY ({ids('$1')}) AND num_nulls(dedup_id) = 1"
"""``IS NULL`` would let the planner find the rows by ``dedup_id``, of which nearly all are NULL."""

# idempotency
KEYS = f"""INSERT INTO workflow_idempotency AS i (scope, key, run_id, request_hash, expires_at)
 SELECT v->>0, v->>1, v->>2, v->>3, (v->>4)::bigint {_ROWS}
 ON CONFLICT (scope, key) DO UPDATE SET
 run_id = CASE WHEN i.expires_at <= $2 THEN excluded.run_id ELSE i.run_id END,
 request_hash = CASE WHEN i.expires_at <= $2 THEN excluded.request_hash ELSE i.request_hash END,
 expires_at = CASE WHEN i.expires_at <= $2 THEN excluded.expires_at ELSE i.expires_at END
 RETURNING i.scope, i.key, i.run_id, i.request_hash, i.expires_at"""

# queues
_LIMITS_LOCK = 7_229_180_642
SHARE_LIMITS = f"SELECT pg_advisory_xact_lock_shared({_LIMITS_LOCK})"
"""Taken by whoever starts to hold runs, so that limits do not change under it."""
CHANGE_LIMITS = f"SELECT pg_advisory_xact_lock({_LIMITS_LOCK})"
RESTRICTED = "SELECT queue FROM workflow_queues WHERE paused OR concurrency_limit IS NOT NULL"
LIMITS = "SELECT queue, concurrency_limit FROM workflow_queues WHERE concurrency_limit IS NOT NULL"
PUT_QUEUE = """INSERT INTO workflow_queues (queue, concurrency_limit, paused) VALUES ($1, $2, $3)
 ON CONFLICT (queue) DO UPDATE SET concurrency_limit = excluded.concurrency_limit, paused = excluded.paused"""
CUT_SLOTS = "DELETE FROM workflow_queue_slots WHERE queue = $1 AND (run_id IS NULL OR $2::int IS NULL)"
SEAT_HELD = """INSERT INTO workflow_queue_slots (queue, slot, run_id) SELECT $1,
 (SELECT coalesce(max(slot), 0) FROM workflow_queue_slots WHERE queue = $1) + row_number() OVER (ORDER BY run_id),
 run_id FROM workflow_runs r WHERE holder IS NOT NULL AND $1 IN (r.queue, '*')
 AND NOT EXISTS (SELECT 1 FROM workflow_queue_slots s WHERE s.queue = $1 AND s.run_id = r.run_id)"""
ADD_SLOTS = """INSERT INTO workflow_queue_slots (queue, slot) SELECT $1, slot FROM generate_series(1, $2) slot
 ON CONFLICT DO NOTHING"""
CLOSED = CLOSED_QUEUES
FREE_SEATS = f"DELETE FROM workflow_seats WHERE run_id = ANY ({ids('$1')})"
UNSET_LIMIT = "DELETE FROM workflow_concurrency WHERE name = $1"
SET_LIMIT = """INSERT INTO workflow_concurrency (name, most) VALUES ($1, $2)
 ON CONFLICT (name) DO UPDATE SET most = excluded.most"""
SET_WEIGHT = """INSERT INTO workflow_turns (tenant, weight) VALUES ($1, $2)
 ON CONFLICT (tenant) DO UPDATE SET weight = excluded.weight"""
FREE_SLOTS = f"UPDATE workflow_queue_slots SET run_id = NULL WHERE run_id = ANY ({ids('$1')})"
ANY = f"SELECT 1 FROM workflow_runs WHERE {WAITING} LIMIT 1"
"""Whether any run of no lane is ready."""
_BEST = "priority, claim_rank, ready_at, run_id"
_READY = f"""FROM workflow_runs r WHERE r.holder IS NULL AND r.ready_at IS NOT NULL AND r.lane = ''
 AND ({schema.CODE}) = ANY ({ids("$1")}) AND r.queue"""
READY = f"""WITH opened AS MATERIALIZED (SELECT queue FROM ({WAITING_QUEUES}) w
 WHERE ($2::jsonb IS NULL OR queue = ANY ({ids("$2")})) AND queue <> ALL ({ids("$3")})
 AND NOT EXISTS (SELECT 1 FROM ({CLOSED_QUEUES}) c WHERE c.queue IN (w.queue, '*'))),
 shares AS (SELECT queue, $4::bigint AS most FROM opened WHERE (SELECT count(*) FROM opened) = 1
 UNION ALL SELECT queue, count(*) FROM (SELECT o.queue, best.* FROM opened o, LATERAL (
 SELECT {_BEST} {_READY} = o.queue ORDER BY {_BEST} LIMIT $4) best
 WHERE (SELECT count(*) FROM opened) > 1 ORDER BY {_BEST} LIMIT $4) all_best GROUP BY queue)
 SELECT best.* FROM shares s, LATERAL (SELECT {RUN} {_READY} = s.queue
 ORDER BY {_BEST} LIMIT s.most FOR NO KEY UPDATE SKIP LOCKED) best ORDER BY {_BEST}"""
"""The best runs over all open queues. How many of each queue are among them is looked up first, unless there is but
one: only those are locked. Runs of the other queues are not looked at, however many there are."""
_ASKED = "jsonb_to_recordset($1::jsonb) AS q (queue text, wanted int, most int)"
_EXCESS = "workflow_queue_slots e WHERE e.queue = q.queue AND e.slot > q.most AND e.run_id IS NOT NULL"
EXCESS = f"SELECT e.* FROM {_ASKED}, LATERAL (SELECT queue, slot, run_id FROM {_EXCESS} ORDER BY slot FOR UPDATE) e"
"""Slots in use beyond a limit that was lowered: they count before anybody else gets one."""
LOCK_SLOTS = f"""SELECT q.queue, s.slot FROM {_ASKED}, LATERAL (SELECT slot FROM workflow_queue_slots
 WHERE queue = q.queue AND run_id IS NULL AND slot <= q.most
 ORDER BY slot LIMIT q.wanted + (SELECT count(*) FROM {_EXCESS}) FOR UPDATE SKIP LOCKED) s"""
TAKE_SLOTS = f"""UPDATE workflow_queue_slots s SET run_id = v->>2 {_ROWS}
 WHERE s.queue = v->>0 AND s.slot = (v->>1)::int"""
DROP_SLOTS = """DELETE FROM workflow_queue_slots s USING jsonb_array_elements($1::jsonb) v
 WHERE s.queue = v->>0 AND s.slot = (v->>1)::int"""
SORTS = "SELECT set_config('enable_sort', $1, true)"
PLAN = """SELECT set_config('enable_seqscan', $1, true), set_config('enable_hashjoin', $1, true),
 set_config('enable_mergejoin', $1, true)"""
"""Where the planner's freedom is user code's (``on``) or ours (``off``)."""
TIMEOUTS = f"""{PLAN}, set_config('statement_timeout', $2, true),
 set_config('idle_in_transaction_session_timeout', $3, true),
 set_config('windlass.patience', current_setting('windlass.idle'), true)"""
NO_TIMEOUT = "SET LOCAL statement_timeout TO DEFAULT"
USUAL_PATIENCE = f"""{PLAN}, set_config('idle_in_transaction_session_timeout',
 coalesce(nullif(current_setting('windlass.patience', true), ''),
 'the transaction had been ended by somebody else'), true)"""
"""Fails, and says so, where user code has ended the transaction and begun another: what the first had is gone there."""

# doorbells
LISTEN = ("LISTEN windlass", "SET application_name TO 'windlass doorbell'")
UNLISTEN = ("UNLISTEN windlass", "SET application_name TO 'windlass'")
LISTENERS = """SELECT 1 FROM pg_stat_activity WHERE application_name = 'windlass doorbell'
 AND datname = current_database() AND pid <> pg_backend_pid() LIMIT 1"""
NOTIFY = "SELECT pg_notify('windlass', news) FROM jsonb_array_elements_text($1::jsonb) news"
