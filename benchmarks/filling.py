"""Fills a database with processed records, their finished runs and their journals, as the product leaves them.

The rows are made by the database itself, in the order of their keys, and the indexes beside these are built when all
are there: the only way to have millions of them in a minute. Nothing here is measured, so nothing is synchronised
until the end.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Sequence

import psycopg

from benchmarks.bare import make_tables
from benchmarks.engine import running
from windlass.contexts.records import rollups

_START = 1_792_000_000
"""Seconds since 1970 of the first record; one comes every other second."""

_SQLITE_NUMBERS = (
    "WITH RECURSIVE numbers(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n < :last),"
    f" r AS (SELECT n, printf('01900000-0000-7000-8000-%012x', n) AS id,"
    f" strftime('%Y-%m-%dT%H:%M:%S', {_START} + n * 2, 'unixepoch') || printf('.%06dZ', n % 1000000) AS at"
    " FROM numbers)"
)
_POSTGRES_NUMBERS = (
    "WITH r AS (SELECT n, '01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0') AS id,"
    f" to_timestamp({_START} + n * 2) + n % 1000000 * interval '1 microsecond' AS at"
    " FROM generate_series(0, {last}) n)"
)
_RECORDS = """INSERT INTO records (id, created_at, status, source, category, payload, classification, score, result,
 updated_at, processed_at, processing_ms, attempts, run_id)
 {numbers} SELECT id, at, 'processed', 'source-' || (n % 5), 'category-' || (n % 20),
 {json}('{{"number":' || n || ',"title":"Record ' || n || ' of the benchmark","priority":3,"impact":2,"urgency":1,'
 || '"tags":["bench"]}}'), 'medium', 6, {json}('{{"score":6,"classification":"medium","rules":"default-1"}}'),
 at, at, 12, 1, id FROM r"""
_RUNS = """INSERT INTO workflow_runs (run_id, name, status, claim_rank, last_seq, inputs_json, outputs_json,
 created_at, started_at, ended_at)
 {numbers} SELECT id, 'records.process', 'succeeded', 0, 6, {json}('{{"ticket":["' || id || '"]}}'),
 {json}('"processed"'), at, at, at FROM r"""
_EVENTS = """INSERT INTO workflow_events (run_id, event_seq, event_type, step_id, payload_json, created_at)
 {numbers} SELECT r.id, e.seq, e.type, e.step, {json}(e.payload), r.at FROM r CROSS JOIN (
 SELECT 1 AS seq, 'run_started' AS type, NULL AS step, '{{"mode":"async"}}' AS payload
 UNION ALL SELECT 2, 'step_started', 'classify#1', '{{"step_id":"classify","type":"step"}}'
 UNION ALL SELECT 3, 'step_completed', 'classify#1',
 '{{"step_id":"classify","type":"step","input":"afe0bb3009ba69f2","attempt":1,"output":{{"score":6}}}}'
 UNION ALL SELECT 4, 'step_started', 'settle#1', '{{"step_id":"settle","type":"step"}}'
 UNION ALL SELECT 5, 'step_completed', 'settle#1',
 '{{"step_id":"settle","type":"step","input":"a8e028d9454fe358","attempt":1,"output":"processed"}}'
 UNION ALL SELECT 6, 'run_completed', NULL, '{{"success":true}}') e"""

_GROWN = (_RECORDS, _RUNS, _EVENTS)
FEW = 20
"""How many runs of each rare sort there are."""
_DEFINITION_RUNS = """INSERT INTO workflow_runs (run_id, name, status, claim_rank, last_seq, workflow_id, user_id,
 status_reason, wait_reason, failed_attempts, parent_run_id, queue,
 attributes, inputs_json, outputs_json, error, created_at, started_at, ended_at)
 {numbers}, s AS (SELECT n, id, at, CASE WHEN n % 50 = 10 THEN 10 ELSE n % {stride} END AS sort FROM r)
 SELECT id,
 CASE sort WHEN 3 THEN 'report.daily' WHEN 9 THEN 'report.part' ELSE 'workflows.run' END,
 CASE sort WHEN 4 THEN 'running' WHEN 5 THEN 'waiting_approval' WHEN 6 THEN 'failed' WHEN 7 THEN 'cancelled'
 WHEN 8 THEN 'paused' WHEN 10 THEN 'failed' ELSE 'succeeded' END,
 0, 4,
 CASE sort WHEN 2 THEN 41 WHEN 3 THEN NULL WHEN 9 THEN NULL ELSE n % 40 END,
 CASE sort WHEN 1 THEN 'ann' WHEN 3 THEN NULL WHEN 9 THEN NULL ELSE 'dev' END,
 CASE sort WHEN 8 THEN 'somebody' END,
 CASE sort WHEN 4 THEN 'signal:paid' WHEN 5 THEN 'signal:decided' WHEN 8 THEN 'paused' END,
 CASE sort WHEN 8 THEN 3 END,
 CASE sort WHEN 9 THEN 'parent' END,
 CASE sort WHEN 3 THEN 'side' WHEN 9 THEN 'default' ELSE 'workflows' END,
 {json}('{{"mode":"async","version":1}}'), {json}('{{"digest":"none","inputs":{{"number":' || n || '}}}}'),
 CASE WHEN sort IN (4, 5, 6, 7, 8, 10) THEN NULL ELSE {json}('{{"number":1}}') END,
 CASE sort WHEN 10 THEN {json}('{{"code":"webhook_failed","message":"webhook_failed: 500"}}')
 WHEN 6 THEN {json}('{{"code":"quota_exceeded","message":"quota_exceeded: of today"}}') END,
 at, at, CASE WHEN sort IN (4, 5, 8) THEN NULL ELSE at END FROM s"""
_TABLES = ("records", "workflow_runs", "workflow_events")


def fill_runs(database: str, count: int) -> None:
    """Put ``count`` runs into an empty database, most of them ended, of forty definitions and of ``dev``.

    One in fifty has failed; of each of nine other sorts there are ``FEW``, evenly spread.
    """
    make_tables(database)
    if database.startswith("sqlite"):
        _fill_sqlite(
            database.removeprefix("sqlite:///"),
            count,
            [_DEFINITION_RUNS.replace("{stride}", str(max(50, count // FEW)))],
        )
    else:
        _fill_postgres(database, count, [_DEFINITION_RUNS.replace("{stride}", str(max(50, count // FEW)))])


def fill(database: str, count: int) -> None:
    """Put ``count`` records, runs and journals into an empty database, and bring its counts up to date."""
    make_tables(database)
    if database.startswith("sqlite"):
        _fill_sqlite(database.removeprefix("sqlite:///"), count, _GROWN)
    else:
        _fill_postgres(database, count, _GROWN)
    asyncio.run(_recount(database))


def _fill_sqlite(path: str, count: int, templates: Sequence[str]) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -500000", "temp_store = MEMORY"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    found = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN (?, ?, ?)"
    indexes = connection.execute(found, _TABLES).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    for template in templates:
        statement = template.format(numbers=_SQLITE_NUMBERS, json="")
        connection.execute(statement, {"first": 0, "last": count - 1})
    for _, statement in indexes:
        connection.execute(statement)
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.close()
    os.sync()


def _fill_postgres(database: str, count: int, templates: Sequence[str]) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        for setting in ("synchronous_commit = off", "maintenance_work_mem = '512MB'", "jit = off"):
            connection.execute(f"SET {setting}".encode())
        found = """SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index i
         WHERE indrelid = ANY(%s::regclass[]) AND NOT indisprimary
         AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = i.indexrelid)"""
        indexes = connection.execute(found, (list(_TABLES),)).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}".encode())
        for template in templates:
            numbers = _POSTGRES_NUMBERS.format(last=count - 1)
            connection.execute(template.format(numbers=numbers, json="jsonb").encode())
        for _, statement in indexes:
            connection.execute(statement.encode())
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


async def _recount(database: str) -> None:
    async with running(database) as engine:
        await engine.transact(rollups.rebuild)
    if not database.startswith("sqlite"):
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE record_rollups, record_deltas")
