"""Windlass with long journals: how soon a run is at its next step that a process takes over without knowing anything.

The run is started on a queue that is paused, and its journal written as the engine would have. Measured is from the
moment the queue is opened, in an engine that has just begun, to the first line of the step that the journal lacks.
"""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

import psycopg

from benchmarks.contender import Options, Outcome, Shape, main, resident_bytes
from benchmarks.engine import running
from windlass import Workflow, checkpoint, step, workflow
from windlass.values.codec import digest

_EVERY = 1000
"""Calls between two checkpoints; the last ones of the journal are as many as there can be."""
_QUEUE = "histories"
_BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
_STARTED = json.dumps({"step_id": "note", "type": "step"})
_EVENT = "INSERT INTO workflow_events VALUES (?, ?, ?, ?, ?, ?)"
_HEAD = "UPDATE workflow_runs SET status = 'running', claim_rank = 1, started_at = created_at, last_seq = {0}"
_reached: list[tuple[float, int]] = []
"""When the step was carried out, and how much memory the process had then."""

Row = tuple[str, int, str, str | None, str, str]


@step
async def note(number: int) -> int:
    """Note when it was carried out: nothing of a replay is."""
    _reached.append((time.perf_counter(), resident_bytes()))
    return number


@workflow(name="histories.whole")
async def whole(first: int, last: int) -> int:
    """Run steps whose journal is replayed from its beginning."""
    for number in range(first, last):
        await note(number)
    return last


@workflow(name="histories.continued")
async def continued(first: int, last: int) -> int:
    """Run steps, and begin anew from time to time."""
    for number in range(first, last):
        await note(number)
        checkpoint(number + 1, last, every=_EVERY)
    return last


def _journal(run_id: str, last: int, every: int | None) -> Iterator[Row]:
    """Yield the events of a run of so many steps and one more, which begins anew after ``every`` of them."""
    seq, began = 0, 0

    def row(kind: str, path: str | None, payload: str) -> Row:
        nonlocal seq
        seq += 1
        at = (_BEGUN + timedelta(milliseconds=seq)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return run_id, seq, kind, path, payload, at

    yield row("run_started", None, '{"mode":"async"}')
    for number in range(last):
        if every is not None and number - began == every:
            began = number
            yield row("run_continued", None, json.dumps({"inputs": {"first": number, "last": last + 1}}))
        path = f"note#{number - began + 1}"
        yield row("step_started", path, _STARTED)
        done = {"step_id": "note", "type": "step", "input": digest([number], {}, "input"), "attempt": 1}
        yield row("step_completed", path, json.dumps(done | {"output": number}))


def _steps(events: int, every: int | None) -> int:
    """Return how many steps so many events are, at least: whole parts, the last without its checkpoint."""
    return events // 2 if every is None else math.ceil(events / (2 * every + 1)) * every - 1


def _write(options: Options, events: Iterator[Row]) -> int:
    """Write a journal; returns the number of its last event."""
    last = 0
    if options.sqlite:
        connection = sqlite3.connect(options.sqlite_path, isolation_level=None)
        connection.execute("BEGIN")
        while rows := list(islice(events, 10_000)):
            connection.executemany(_EVENT, rows)
            last = rows[-1][1]
        connection.execute(_HEAD.format(last))
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return last
    with psycopg.connect(options.database) as server:
        with server.cursor().copy("COPY workflow_events FROM STDIN") as copy:
            for event in events:
                copy.write_row(event)
                last = event[1]
        server.execute(_HEAD.format(last).encode())
        server.commit()
        server.autocommit = True
        server.execute("VACUUM ANALYZE")
        server.execute("CHECKPOINT")
    return last


async def _start(options: Options, flow: Workflow[[int, int], int], last: int) -> str:
    """Start the run on a queue that is paused."""
    async with running(options.database, embed_worker=False) as engine:
        await engine.set_queue(_QUEUE, paused=True)
        return (await engine.start_run(flow, 0, last, queue=_QUEUE)).run_id


async def _resume(options: Options, run_id: str) -> tuple[float, float, int]:
    """Open the queue; return the seconds until the next step, those of the processor, and the bytes that came."""
    async with running(options.database) as engine:
        before = resident_bytes()
        begun, worked = time.perf_counter(), time.process_time()
        await engine.set_queue(_QUEUE, paused=False)
        await engine.result(run_id)
        assert len(_reached) == 1, f"{len(_reached)} steps were carried out, not the one that the journal lacks"
        [(reached, memory)] = _reached
        return reached - begun, time.process_time() - worked, memory - before


def _measured(options: Options, flow: Workflow[[int, int], int], every: int | None) -> Outcome:
    last = _steps(options.size, every)
    run_id = asyncio.run(_start(options, flow, last + 1))
    events = _write(options, _journal(run_id, last, every))
    seconds, processor, memory = asyncio.run(_resume(options, run_id))
    rates = {"rate": events / seconds, "processor_rate": events / processor, "bytes_per_event": memory / events}
    return Outcome(seconds, {"events": events, **rates})


def _whole(options: Options) -> Outcome:
    """Seconds to the next step of a run that begins at the beginning; ``rate`` is events replayed per second."""
    return _measured(options, whole, None)


def _continued(options: Options) -> Outcome:
    """Seconds to the next step of a run that begins at its last checkpoint."""
    return _measured(options, continued, _EVERY)


SHAPES: dict[str, Shape] = {"whole": _whole, "continued": _continued}

if __name__ == "__main__":
    main(SHAPES)
