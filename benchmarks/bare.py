"""The bare limit: loops without an engine that write the engine's rows in the engine's batches.

SQLite through ``sqlite3`` (WAL, ``synchronous=FULL``, checkpoints at ``_WAL_PAGES``), PostgreSQL through
psycopg 3 (``synchronous_commit=on``, one ``COPY`` or one ``unnest`` statement per table and batch). The
tables and indexes are the engine's own, made by its migrations.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import psycopg

from benchmarks.contender import Options, Outcome, Shape, main, p50_ms
from benchmarks.samples import record
from windlass.contexts.records.stamps import Stamps
from windlass.kernel.clock import SystemClock, to_iso
from windlass.kernel.ids import new_id
from windlass.storage import migrate
from windlass.storage.urls import parse

Row = tuple[Any, ...]
_WAL_PAGES = 4000
_STARTED = '{"mode":"async"}'
_STEP_STARTED = '{"step_id":"noop","type":"step"}'
_STEP_COMPLETED = '{"step_id":"noop","type":"step","input":"598959210bcb1296","attempt":1,"output":%d}'
_COMPLETED = '{"success":true}'
_MARK = (
    "INSERT INTO workflow_commits (writer, marker) VALUES (?, ?)"
    " ON CONFLICT (writer) DO UPDATE SET marker = excluded.marker"
)
_RECORD = (
    "INSERT INTO records (id, created_at, status, source, category, payload, updated_at, attempts)"
    " VALUES (?, ?, 'pending', ?, ?, ?, ?, 0)"
)
_RECORDS_A_COMMIT = 1000
_HOLDER = new_id()
_clock = SystemClock()


class Writer(Protocol):
    """A connection that writes whole batches and commits them."""

    def start(self, runs: Sequence[Row]) -> None:
        """Insert run rows."""

    def append(self, events: Sequence[Row]) -> None:
        """Insert event rows."""

    def bump(self, runs: Sequence[Row]) -> None:
        """Write ``last_seq`` of runs."""

    def finish(self, runs: Sequence[Row]) -> None:
        """Write the final state of runs."""

    def records(self, rows: Sequence[Row]) -> None:
        """Insert record rows by ``executemany``."""

    def commit(self) -> None:
        """Make it durable."""

    def close(self) -> None:
        """Close the connection."""


class SQLite:
    """The fastest road into a SQLite file that Python has: ``executemany`` on one connection."""

    _EVENTS = "INSERT INTO workflow_events VALUES (?, ?, ?, ?, ?, ?)"
    _RUNS = (
        "INSERT INTO workflow_runs"
        " (run_id, name, status, holder, last_seq, inputs_json, created_at, started_at)"
        " VALUES (?, ?, 'running', ?, 1, ?, ?, ?)"
    )
    _BUMP = "UPDATE workflow_runs SET last_seq = ?, deaths = 0 WHERE run_id = ?"
    _FINISH = (
        "UPDATE workflow_runs SET status = 'succeeded', holder = NULL, last_seq = ?, outputs_json = ?,"
        " ended_at = ? WHERE run_id = ?"
    )

    def __init__(self, database: str) -> None:
        self.connection = sqlite3.connect(database.removeprefix("sqlite:///"), isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", f"wal_autocheckpoint={_WAL_PAGES}"):
            self.connection.execute(f"PRAGMA {pragma}")
        (synchronous,) = self.connection.execute("PRAGMA synchronous").fetchone()
        if synchronous != 2:
            raise RuntimeError(f"synchronous is {synchronous}, not FULL")
        self._open = False
        self._batches = 0

    def many(self, statement: str, rows: Iterable[Row]) -> None:
        """Execute a statement for every row inside the open transaction, opening one if there is none."""
        if not self._open:
            self.connection.execute("BEGIN IMMEDIATE")
            self._open = True
        self.connection.executemany(statement, rows)

    def start(self, runs: Sequence[Row]) -> None:
        """Insert run rows."""
        self.many(self._RUNS, runs)

    def append(self, events: Sequence[Row]) -> None:
        """Insert event rows."""
        self.many(self._EVENTS, events)

    def bump(self, runs: Sequence[Row]) -> None:
        """Write ``last_seq`` of runs."""
        self.many(self._BUMP, runs)

    def finish(self, runs: Sequence[Row]) -> None:
        """Write the final state of runs."""
        self.many(self._FINISH, runs)

    def records(self, rows: Sequence[Row]) -> None:
        """Insert record rows by ``executemany``."""
        self.many(_RECORD, rows)

    def commit(self) -> None:
        """Make it durable, with a marker as the engine's batches have one."""
        self._batches += 1
        self.many(_MARK, [("bare", self._batches)])
        self.connection.execute("COMMIT")
        self._open = False

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


class Postgres:
    """The fastest road into PostgreSQL: ``COPY`` for new rows, one ``unnest`` statement for changed ones.

    The changes go with their COMMIT in one round trip. ``COPY`` needs no escapes here: the values hold no
    backslash, tab or newline.
    """

    _EVENTS = "COPY workflow_events FROM STDIN"
    _RUNS = (
        "COPY workflow_runs (run_id, name, status, holder, last_seq, inputs_json, created_at, started_at) FROM STDIN"
    )
    _BUMP = (
        "UPDATE workflow_runs r SET last_seq = t.b, deaths = 0"
        " FROM unnest(%s::bigint[], %s::text[]) AS t(b, a) WHERE r.run_id = t.a"
    )
    _FINISH = (
        "UPDATE workflow_runs r SET status = 'succeeded', holder = NULL, last_seq = t.b,"
        " outputs_json = t.c::jsonb, ended_at = t.d::timestamptz"
        " FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[]) AS t(b, c, d, a)"
        " WHERE r.run_id = t.a"
    )

    def __init__(self, database: str) -> None:
        self.connection = psycopg.connect(database, prepare_threshold=1)
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            found = self.connection.execute(f"SHOW {setting}").fetchone()
            if found != ("on",):
                raise RuntimeError(f"{setting} is {found}")
        self.connection.commit()
        self._changes: list[tuple[str, Sequence[Row]]] = []
        self._batches = 0

    def copy(self, statement: str, rows: Iterable[Row]) -> None:
        """Insert rows; ``None`` becomes NULL."""
        lines = ["\t".join("\\N" if value is None else str(value) for value in row) for row in rows]
        lines.append("")
        with self.connection.cursor().copy(statement) as copy:
            copy.write("\n".join(lines))

    def start(self, runs: Sequence[Row]) -> None:
        """Insert run rows."""
        self.copy(self._RUNS, [(a, b, "running", c, 1, d, e, f) for a, b, c, d, e, f in runs])

    def append(self, events: Sequence[Row]) -> None:
        """Insert event rows."""
        self.copy(self._EVENTS, events)

    def bump(self, runs: Sequence[Row]) -> None:
        """Write ``last_seq`` of runs, with the commit."""
        self._changes.append((self._BUMP, runs))

    def finish(self, runs: Sequence[Row]) -> None:
        """Write the final state of runs, with the commit."""
        self._changes.append((self._FINISH, runs))

    def records(self, rows: Sequence[Row]) -> None:
        """Insert record rows by ``executemany``."""
        self.connection.cursor().executemany(_RECORD.replace("?", "%s"), rows)

    def commit(self) -> None:
        """Make it durable, with a marker as the engine's batches have one."""
        self._batches += 1
        with self.connection.pipeline():
            self.connection.execute(_MARK.replace("?", "%s"), ("bare", self._batches))
            for statement, rows in self._changes:
                self.connection.execute(statement, [list(column) for column in zip(*rows, strict=True)])
            self.connection.commit()
        self._changes.clear()

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def make_tables(database: str) -> None:
    """Create the engine's tables and indexes in an empty database."""
    migrate.upgrade(parse(database), nullcontext())


def open_writer(options: Options) -> SQLite | Postgres:
    """Create the tables and open a writing connection."""
    make_tables(options.database)
    return SQLite(options.database) if options.sqlite else Postgres(options.database)


def _batch(writer: Writer, ids: Sequence[str], steps: int) -> None:
    """Take runs from their start to their end, all in step: a commit for the starts, one for every step."""
    now = to_iso(_clock.now())
    inputs = f'{{"steps":{steps}}}'
    writer.start([(run_id, "chain", _HOLDER, inputs, now, now) for run_id in ids])
    writer.append([(run_id, 1, "run_started", None, _STARTED, now) for run_id in ids])
    writer.commit()
    seq = 1
    for number in range(steps):
        now = to_iso(_clock.now())
        step = f"noop#{number + 1}"
        completed = _STEP_COMPLETED % number
        events: list[Row] = []
        for run_id in ids:
            events.append((run_id, seq + 1, "step_started", step, _STEP_STARTED, now))
            events.append((run_id, seq + 2, "step_completed", step, completed, now))
        seq += 2
        writer.append(events)
        writer.bump([(seq, run_id) for run_id in ids])
        writer.commit()
    now = to_iso(_clock.now())
    writer.append([(run_id, seq + 1, "run_completed", None, _COMPLETED, now) for run_id in ids])
    writer.finish([(seq + 1, str(steps), now, run_id) for run_id in ids])
    writer.commit()


def _chains(steps: int) -> Callable[[Options], float]:
    def measure(options: Options) -> float:
        writer = open_writer(options)
        _batch(writer, [new_id() for _ in range(options.at_a_time)], steps)
        rounds = max(1, options.size // options.at_a_time)
        ids = [[new_id() for _ in range(options.at_a_time)] for _ in range(rounds)]
        start = time.perf_counter()
        for some in ids:
            _batch(writer, some, steps)
        seconds = time.perf_counter() - start
        writer.close()
        return rounds * options.at_a_time / seconds

    return measure


def _ten_steps(options: Options) -> Outcome:
    """Steps per second of 10-step runs."""
    return Outcome(_chains(10)(options) * 10)


def _one_step(options: Options) -> Outcome:
    """Runs per second, of one step each."""
    return Outcome(_chains(1)(options))


def _commit(options: Options) -> Outcome:
    """Median milliseconds of one durable commit of one small row."""
    writer = open_writer(options)
    times = []
    for _ in range(options.size):
        start = time.perf_counter()
        writer.commit()
        times.append(time.perf_counter() - start)
    writer.close()
    return Outcome(p50_ms(times))


def _record_rows(count: int) -> Iterator[Row]:
    stamps = Stamps(_clock)
    for number in range(count):
        one = record(number)
        at, record_id = stamps.new()
        now = to_iso(at)
        yield record_id, now, one["source"], one["category"], json.dumps(one["payload"]), now


def _records(options: Options) -> Outcome:
    """Record rows per second by ``executemany``, ``_RECORDS_A_COMMIT`` of them in a transaction."""
    writer = open_writer(options)
    rows = list(_record_rows(options.size))
    start = time.perf_counter()
    for at in range(0, len(rows), _RECORDS_A_COMMIT):
        writer.records(rows[at : at + _RECORDS_A_COMMIT])
        writer.commit()
    seconds = time.perf_counter() - start
    writer.close()
    return Outcome(options.size / seconds)


SHAPES: dict[str, Shape] = {"ten-steps": _ten_steps, "one-step": _one_step, "commit": _commit, "records": _records}

if __name__ == "__main__":
    main(SHAPES)
