"""The tables, described once for both databases; migrations are checked against this.

``workflow_runs`` is the index over the journal ``workflow_events``. Columns that only the engine reads and that
change often (``ready_at``, ``wake_at``) are microseconds; columns people read are time stamps.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def timestamp() -> sa.types.TypeEngine[Any]:
    """Return the type of a time people read: TIMESTAMPTZ, or ISO 8601 text (sorts) on SQLite."""
    return sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")


def json_text() -> sa.types.TypeEngine[Any]:
    """Return the type of a JSON document: JSONB, or text on SQLite."""
    return sa.Text().with_variant(JSONB(), "postgresql")


def name() -> sa.types.TypeEngine[Any]:
    """Return the type of an id or name: compared byte by byte on both databases, so pages have one order."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


_open_and_ready = sa.text("holder IS NULL AND ready_at IS NOT NULL AND lane = ''")
_ready_in_lane = sa.text("holder IS NULL AND ready_at IS NOT NULL AND lane <> ''")
_due = sa.text("(ready_at + (priority + claim_rank) * ageing)")
_waiting = sa.text("wake_at IS NOT NULL")
_held = sa.text("holder IS NOT NULL")
_child = sa.text("parent_run_id IS NOT NULL")
FAILED_ONCE = "coalesce(failed_attempts, 0) >= 1"
"""Which runs an attempt of whose steps has failed; in words that SQLite takes for no bound of what it looks for."""
FAILING = (
    "failed_attempts IS NOT NULL AND status IN ('queued', 'running', 'paused', 'waiting_human', 'waiting_approval')"
)
"""Which of these have not ended; in other words, so that it is plain which of the two indexes serves a query."""
_failed_once = sa.text(FAILED_ONCE)
_failing = sa.text(FAILING)
CLOSED = ("workflows.run", "webhooks.deliver", "webhooks.complete", "webhooks.redeliver", "webhooks.replay_many")
"""Workflows whose runs are only for who may see them; lists find these by tenant and owner, the others by name."""
OF_SOMEBODY = f"({' OR '.join(f'name = {one!r}' for one in CLOSED)})"
"""Which runs these are; in the words of their indexes, which queries have to repeat for SQLite to take one.

For an IN, SQLite would build a table of the names for every index and every run that is written.
"""
_of_somebody = sa.text(OF_SOMEBODY)
_begun = sa.text(f"{OF_SOMEBODY} AND started_at IS NOT NULL")
_ended = sa.text(f"{OF_SOMEBODY} AND ended_at IS NOT NULL")
CODE = "CASE interface_version WHEN '1' THEN name ELSE name || '@' || interface_version END"
"""By what a process knows whether it carries a run out; see ``kernel.versions``."""
ERROR_CLASS = "substr(error ->> 'message', 1, 40)"
"""How the error of a failed run begins: runs that failed alike are found by it."""
FAILED = "status = 'failed'"
_error_class = sa.text(f"({ERROR_CLASS})")
_failed = sa.text(FAILED)
_failed_of_somebody = sa.text(f"{FAILED} AND {OF_SOMEBODY}")
USUAL_QUEUE = "default"
ASIDE = f"queue <> '{USUAL_QUEUE}'"
"""Which runs are in another queue than most are."""
_aside = sa.text(ASIDE)
_definition_waits = sa.text("holder IS NULL AND ready_at IS NOT NULL AND name = 'workflows.run'")

workflow_runs = sa.Table(
    "workflow_runs",
    metadata,
    sa.Column("run_id", name(), primary_key=True),
    sa.Column("tenant_id", name(), nullable=False, server_default="default"),
    sa.Column("workflow_id", sa.BigInteger),
    sa.Column("name", name(), nullable=False),
    sa.Column("interface_version", name(), nullable=False, server_default="1"),
    sa.Column("status", name(), nullable=False),
    sa.Column("status_reason", sa.Text),
    sa.Column("wait_reason", sa.Text),
    sa.Column("user_id", name()),
    sa.Column("queue", name(), nullable=False, server_default="default"),
    sa.Column("key", name()),
    sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
    sa.Column("claim_rank", sa.SmallInteger, nullable=False, server_default="1"),
    sa.Column("ready_at", sa.BigInteger),
    sa.Column("wake_at", sa.BigInteger),
    sa.Column("holder", name()),
    sa.Column("deaths", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("last_seq", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("history_from_seq", sa.BigInteger, nullable=False, server_default="1"),
    sa.Column("parent_run_id", name()),
    sa.Column("on_end", name()),
    sa.Column("attributes", json_text(), nullable=False, server_default="{}"),
    sa.Column("inputs_json", json_text(), nullable=False),
    sa.Column("outputs_json", json_text()),
    sa.Column("error", json_text()),
    sa.Column("created_at", timestamp(), nullable=False),
    sa.Column("started_at", timestamp()),
    sa.Column("ended_at", timestamp()),
    sa.Column("lane", name(), nullable=False, server_default=sa.text("''")),
    sa.Column("ageing", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("failed_attempts", sa.SmallInteger),
    sa.Index("ix_workflow_runs_ready", "queue", "priority", "claim_rank", "ready_at", "run_id",
             postgresql_where=_open_and_ready, sqlite_where=_open_and_ready),
    sa.Index("ix_workflow_runs_lanes", "lane", _due, "run_id",
             postgresql_where=_ready_in_lane, sqlite_where=_ready_in_lane),
    sa.Index("ix_workflow_runs_wake", "wake_at", postgresql_where=_waiting, sqlite_where=_waiting),
    sa.Index("ix_workflow_runs_holder", "holder", postgresql_where=_held, sqlite_where=_held),
    sa.Index("ix_workflow_runs_parent", "parent_run_id", "created_at", "run_id",
             postgresql_where=_child, sqlite_where=_child),
    # Lists: what is asked for first, then the status, so that a page is put together from a slice of each status.
    sa.Index("ix_workflow_runs_list", "status", "name", "created_at", "run_id"),
    sa.Index("ix_workflow_runs_tenant", "tenant_id", "name", "status", "created_at", "run_id",
             postgresql_where=_of_somebody, sqlite_where=_of_somebody),
    sa.Index("ix_workflow_runs_owner", "tenant_id", "user_id", "name", "status", "created_at", "run_id",
             postgresql_where=_of_somebody, sqlite_where=_of_somebody),
    sa.Index("ix_workflow_runs_started", "tenant_id", "user_id", "name", "status", "started_at", "run_id",
             postgresql_where=_begun, sqlite_where=_begun),
    sa.Index("ix_workflow_runs_ended", "tenant_id", "user_id", "name", "status", "ended_at", "run_id",
             postgresql_where=_ended, sqlite_where=_ended),
    sa.Index("ix_workflow_runs_definition", "tenant_id", "workflow_id", "status", "created_at", "run_id",
             postgresql_where=_of_somebody, sqlite_where=_of_somebody),
    sa.Index("ix_workflow_runs_owner_definition", "tenant_id", "user_id", "workflow_id", "status", "created_at",
             "run_id", postgresql_where=_of_somebody, sqlite_where=_of_somebody),
    sa.Index("ix_workflow_runs_definition_started", "tenant_id", "user_id", "workflow_id", "status", "started_at",
             "run_id", postgresql_where=_begun, sqlite_where=_begun),
    sa.Index("ix_workflow_runs_definition_ended", "tenant_id", "user_id", "workflow_id", "status", "ended_at",
             "run_id", postgresql_where=_ended, sqlite_where=_ended),
    sa.Index("ix_workflow_runs_queue", "queue", "status", "name", "created_at", "run_id",
             postgresql_where=_aside, sqlite_where=_aside),
    # The status in them is always the same: SQLite takes the index of which most columns are named.
    sa.Index("ix_workflow_runs_error", "status", "name", _error_class, "created_at", "run_id",
             postgresql_where=_failed, sqlite_where=_failed),
    sa.Index("ix_workflow_runs_tenant_error", "tenant_id", "name", "status", _error_class, "created_at", "run_id",
             postgresql_where=_failed_of_somebody, sqlite_where=_failed_of_somebody),
    sa.Index("ix_workflow_runs_owner_error", "tenant_id", "user_id", "name", "status", _error_class, "created_at",
             "run_id", postgresql_where=_failed_of_somebody, sqlite_where=_failed_of_somebody),
    # SQLite counts from an index alone only when it holds every column that is asked about.
    sa.Index("ix_workflow_runs_waiting", "tenant_id", "ready_at", "holder", "name",
             postgresql_where=_definition_waits, sqlite_where=_definition_waits),
    sa.Index("ix_workflow_runs_failing", "tenant_id", "created_at", "run_id",
             postgresql_where=_failing, sqlite_where=_failing),
    sa.Index("ix_workflow_runs_attempts", "tenant_id", "failed_attempts", "created_at", "run_id",
             postgresql_where=_failed_once, sqlite_where=_failed_once),
    postgresql_with={"fillfactor": "80"},
)  # fmt: skip

_continued = sa.text("event_type = 'run_continued'")

workflow_events = sa.Table(
    "workflow_events",
    metadata,
    sa.Column("run_id", name(), primary_key=True),
    sa.Column("event_seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("event_type", name(), nullable=False),
    sa.Column("step_id", name()),
    sa.Column("payload_json", json_text(), nullable=False),
    sa.Column("created_at", timestamp(), nullable=False),
    sa.Index(
        "ix_workflow_events_continued", "run_id", "event_seq", postgresql_where=_continued, sqlite_where=_continued
    ),
    sa.Index(
        "ix_workflow_events_payload",
        "payload_json",
        postgresql_using="gin",
        postgresql_ops={"payload_json": "jsonb_path_ops"},
    ).ddl_if(dialect="postgresql"),
)

workflow_inbox = sa.Table(
    "workflow_inbox",
    metadata,
    sa.Column("arrival", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("inbox_id", name(), nullable=False),
    sa.Column("run_id", name(), nullable=False),
    sa.Column("kind", name(), nullable=False),
    sa.Column("name", name(), nullable=False),
    sa.Column("dedup_id", name()),
    sa.Column("payload_json", json_text(), nullable=False),
    sa.Column("created_at", timestamp(), nullable=False),
    sa.Column("consumed", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.UniqueConstraint("inbox_id"),
    sa.Index("ix_workflow_inbox_run_id_arrival", "run_id", "arrival"),
    sa.UniqueConstraint("run_id", "name", "dedup_id"),
)

workflow_idempotency = sa.Table(
    "workflow_idempotency",
    metadata,
    sa.Column("scope", name(), primary_key=True),
    sa.Column("key", name(), primary_key=True),
    sa.Column("run_id", name(), nullable=False),
    sa.Column("request_hash", sa.Text, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
)

workflow_leases = sa.Table(
    "workflow_leases",
    metadata,
    sa.Column("holder", name(), primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.BigInteger, nullable=False),
    sa.Column("state", name(), nullable=False),
    sa.Column("workflows", sa.Text, nullable=False),
    sa.Column("started_at", timestamp(), nullable=False),
    sa.Column("expires_at", timestamp(), nullable=False),
    sa.Index("ix_workflow_leases_state", "state"),
)

workflow_queues = sa.Table(
    "workflow_queues",
    metadata,
    sa.Column("queue", name(), primary_key=True),
    sa.Column("concurrency_limit", sa.Integer),
    sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()),
)

workflow_queue_slots = sa.Table(
    "workflow_queue_slots",
    metadata,
    sa.Column("queue", name(), primary_key=True),
    sa.Column("slot", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("run_id", name(), index=True),
)

workflow_concurrency = sa.Table(
    "workflow_concurrency",
    metadata,
    sa.Column("name", name(), primary_key=True),
    sa.Column("most", sa.Integer, nullable=False),
    comment="limits that somebody has set, by a prefix of the lanes that share them; the others are the settings'",
)

workflow_seats = sa.Table(
    "workflow_seats",
    metadata,
    sa.Column("name", name(), primary_key=True),
    sa.Column("run_id", name(), primary_key=True),
    sa.Index("ix_workflow_seats_run_id", "run_id"),
    comment="which held run counts against which limit; written under the lock of its tenant's row in workflow_turns",
)

workflow_turns = sa.Table(
    "workflow_turns",
    metadata,
    sa.Column("tenant", name(), primary_key=True),
    sa.Column("weight", sa.Integer, nullable=False, server_default="1"),
    sa.Column("turn", sa.BigInteger),
    sa.Column("lane", name(), nullable=False, server_default=sa.text("''")),
    sa.Index("ix_workflow_turns_turn", "turn"),
    comment="when each tenant's last turn began, in virtual time, and the lane that it was for",
)

workflow_commits = sa.Table(
    "workflow_commits",
    metadata,
    sa.Column("writer", name(), primary_key=True),
    sa.Column("marker", sa.BigInteger, nullable=False),
    comment="one row per writing connection: the last batch that reached the disk (unknown commits are settled here)",
)

database_moves = sa.Table(
    "database_moves",
    metadata,
    sa.Column("place", name(), primary_key=True),
    sa.Column("state", name(), nullable=False),
    sa.Column("move_id", name(), nullable=False),
    sa.Column("other", sa.Text, nullable=False),
    sa.Column("at", timestamp(), nullable=False),
    comment="the one row says that this database is being moved, has been moved, or came to be by a move",
)

workflow_stream_items = sa.Table(
    "workflow_stream_items",
    metadata,
    sa.Column("run_id", name(), primary_key=True),
    sa.Column("stream", name(), primary_key=True),
    sa.Column("item_offset", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("item_json", json_text()),
    sa.Column("step_id", name()),
    sa.Column("attempt", sa.Integer),
    sa.Column("created_at", timestamp(), nullable=False),
    comment="what runs write to their streams; the row without an item is a stream's end",
)

workflow_published = sa.Table(
    "workflow_published",
    metadata,
    sa.Column("run_id", name(), primary_key=True),
    sa.Column("key", name(), primary_key=True),
    sa.Column("value_json", json_text(), nullable=False),
    sa.Column("updated_at", timestamp(), nullable=False),
    comment="the newest value of each key that a run has published",
)

workflow_requests = sa.Table(
    "workflow_requests",
    metadata,
    sa.Column("run_id", name(), primary_key=True),
    sa.Column("request_id", name(), primary_key=True),
    sa.Column("kind", name(), nullable=False),
    sa.Column("name", name(), nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("state", name(), nullable=False),
    sa.Column("answer_json", json_text()),
    sa.Column("created_at", timestamp(), nullable=False),
    comment="updates of runs and queries, and what was answered; a query goes with its answer",
)
LIVE = (workflow_stream_items, workflow_published, workflow_requests)
"""Tables of what runs tell and are asked while they are open; their rows go with their run."""
