"""Every row of a database in one form, whatever the backend: times are microseconds, JSON has sorted keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
import sqlalchemy as sa

from windlass.engine.ports import Backend
from windlass.storage import schema
from windlass.storage.memory.store import MemoryStore
from windlass.storage.queries import iso, micros, text

Tables = dict[str, list[tuple[Any, ...]]]


def json(value: object) -> str | None:
    """Return a JSON column as text with sorted keys."""
    found = text(value)
    return None if found is None else orjson.dumps(orjson.loads(found), option=orjson.OPT_SORT_KEYS).decode()


def moment(value: object) -> int | None:
    """Return a time stamp as microseconds."""
    return None if value is None else micros(value)


def sql_tables(backend: Backend) -> Tables:
    """Return the engine's rows of a SQL database."""

    def rows(table: sa.Table, *order: str) -> Iterable[Any]:
        query = sa.select(table).order_by(*(table.c[column] for column in order))
        return backend.read(lambda connection: connection.execute(query).all())

    return {
        "runs": [
            (
                r.run_id, r.tenant_id, r.name, r.interface_version, r.status, r.status_reason, r.wait_reason,
                r.user_id, r.queue, r.key, r.priority, r.claim_rank, r.ready_at, r.wake_at, r.holder, r.deaths,
                r.last_seq, r.failed_attempts, r.parent_run_id, r.lane, r.ageing, json(r.attributes),
                json(r.inputs_json),
                json(r.outputs_json),
                json(r.error), moment(r.created_at), iso(r.started_at), moment(r.ended_at),
            )
            for r in rows(schema.workflow_runs, "run_id")
        ],
        "events": [
            (r.run_id, r.event_seq, r.event_type, r.step_id, json(r.payload_json), moment(r.created_at))
            for r in rows(schema.workflow_events, "run_id", "event_seq")
        ],
        "inbox": [
            (r.run_id, r.inbox_id, r.kind, r.name, r.dedup_id, json(r.payload_json), moment(r.created_at),
             bool(r.consumed))
            for r in rows(schema.workflow_inbox, "run_id", "arrival")
        ],
        "keys": [
            (r.scope, r.key, r.run_id, r.request_hash, r.expires_at)
            for r in rows(schema.workflow_idempotency, "scope", "key")
        ],
        "leases": [
            (r.holder, r.host, r.pid, r.workflows, r.state != "live") for r in rows(schema.workflow_leases, "holder")
        ],
        "queues": [
            (r.queue, r.concurrency_limit, bool(r.paused)) for r in rows(schema.workflow_queues, "queue")
        ],
        "slots": sorted(
            (r.queue, r.run_id) for r in rows(schema.workflow_queue_slots, "queue") if r.run_id is not None
        ),
        "limits": [(r.name, r.most) for r in rows(schema.workflow_concurrency, "name")],
        "seats": [(r.name, r.run_id) for r in rows(schema.workflow_seats, "name", "run_id")],
        "turns": [(r.tenant, r.weight, r.turn, r.lane) for r in rows(schema.workflow_turns, "tenant")],
    }  # fmt: skip


def memory_tables(store: MemoryStore) -> Tables:
    """Return the engine's rows of a memory store."""
    with store.turn():
        runs = [row for _, row in sorted(store.runs.items())]
        entries = sorted((entry for _, entry in store.inbox.items()), key=lambda e: (e.row.run_id, e.arrival))
        return {
            "runs": [
                (
                    b.run_id, b.tenant_id, b.name, b.interface_version, str(h.status), h.status_reason, h.wait_reason,
                    b.owner, b.queue, b.key, b.priority, h.claim_rank, h.ready_at, h.wake_at, h.holder, h.deaths,
                    h.last_seq, row.failed_attempts, b.parent_run_id, b.lane, b.ageing, json(b.attributes),
                    json(b.inputs),
                    json(row.outputs),
                    json(row.error), b.created_at, h.started_at, row.ended_at,
                )
                for row in runs
                for b, h in [(row.born, row.head)]
            ],
            "events": [(*event[:4], json(event.payload), event.at) for _, event in sorted(store.events.items())],
            "inbox": [
                (e.row.run_id, e.row.inbox_id, *e.row[2:5], json(e.row.payload), e.row.at, e.consumed)
                for e in entries
            ],
            "keys": [tuple(row) for _, row in sorted(store.keys.items())],
            "leases": [(*row.lease, row.dead) for _, row in sorted(store.leases.items())],
            "queues": [(queue, row.limit, row.paused) for queue, row in sorted(store.queues.items())],
            "slots": sorted(key for key, _ in store.slots.items()),
            "limits": sorted(store.limits.items()),
            "seats": sorted(key for key, _ in store.seats.items()),
            "turns": [(tenant, *turn) for tenant, turn in sorted(store.turns.items())],
        }  # fmt: skip
