"""Fills a database with processed records, their finished runs and their journals, as the product leaves them.

The rows are made by the database itself, which is the only way to have millions of them in a minute. Nothing here
is measured, so nothing is synchronised until the end.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence

import psycopg

from benchmarks.bare import make_tables
from benchmarks.engine import running
from windlass.contexts.records import rollups

_CHUNK = 50_000
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
_DEFINITION_RUNS = """INSERT INTO workflow_runs (run_id, name, status, claim_rank, last_seq, workflow_id, user_id,
 attributes, inputs_json, outputs_json, error, created_at, started_at, ended_at)
 {numbers} SELECT id, 'workflows.run', CASE WHEN n % 50 = 10 THEN 'failed' ELSE 'succeeded' END, 0, 4, n % 40, 'dev',
 {json}('{{"mode":"async","version":1}}'), {json}('{{"digest":"none","inputs":{{"number":' || n || '}}}}'),
 CASE WHEN n % 50 = 10 THEN NULL ELSE {json}('{{"number":1}}') END,
 CASE WHEN n % 50 = 10 THEN {json}('{{"code":"webhook_failed","message":"webhook_failed: 500"}}') END,
 at, at, at FROM r"""


def fill_runs(database: str, count: int) -> None:
    """Put ``count`` ended runs of forty definitions into an empty database; one in fifty has failed."""
    make_tables(database)
    if database.startswith("sqlite"):
        _fill_sqlite(database.removeprefix("sqlite:///"), count, [_DEFINITION_RUNS])
    else:
        _fill_postgres(database, count, [_DEFINITION_RUNS])


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
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -500000")
    for template in templates:
        statement = template.format(numbers=_SQLITE_NUMBERS, json="")
        for first in range(0, count, _CHUNK):
            connection.execute(statement, {"first": first, "last": min(first + _CHUNK, count) - 1})
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _fill_postgres(database: str, count: int, templates: Sequence[str]) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        for template in templates:
            numbers = _POSTGRES_NUMBERS.format(last=count - 1)
            connection.execute(template.format(numbers=numbers, json="jsonb").encode())
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


async def _recount(database: str) -> None:
    async with running(database) as engine:
        await engine.transact(rollups.rebuild)
