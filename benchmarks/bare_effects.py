"""The bare limit of transactional steps: a loop without an engine that commits each step with what it did.

PostgreSQL through psycopg 3, on several connections at once. The user's statement is answered before the rows of the
journal and the COMMIT go out together: two round trips a step, as a step's code may look at what it has done.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import psycopg

from benchmarks.bare import Postgres, make_tables
from benchmarks.contender import Options, Outcome, Shape, main
from windlass.kernel.clock import SystemClock, to_iso
from windlass.kernel.ids import new_id
from windlass.kernel.tuning import tune_process

_STEPS = 10
_CONNECTIONS = 8
"""At once, as the product has them."""
_STARTED = '{"step_id":"transactional","type":"step"}'
_COMPLETED = '{"step_id":"transactional","type":"step","input":"598959210bcb1296","attempt":1,"output":%d}'
_EFFECT = "INSERT INTO bench_effects (number) VALUES (%s)"
_EVENTS = (
    "INSERT INTO workflow_events (run_id, event_seq, event_type, step_id, payload_json, created_at)"
    " VALUES (%s, %s, 'step_started', %s, %s, %s), (%s, %s, 'step_completed', %s, %s, %s)"
)
_BUMP = "UPDATE workflow_runs SET last_seq = %s, deaths = 0 WHERE run_id = %s"
_clock = SystemClock()


def _steps(connection: psycopg.Connection, runs: Sequence[str]) -> None:
    """Carry out ten steps of every run, a transaction each."""
    for run_id in runs:
        for number in range(_STEPS):
            now, step, seq = to_iso(_clock.now()), f"transactional#{number + 1}", 2 * number + 2
            with connection.pipeline():
                connection.execute("BEGIN")
                connection.execute(_EFFECT, (number,))
            with connection.pipeline():
                connection.execute(
                    _EVENTS, (run_id, seq, step, _STARTED, now, run_id, seq + 1, step, _COMPLETED % number, now)
                )
                connection.execute(_BUMP, (seq + 1, run_id))
                connection.execute("COMMIT")


def _effects(options: Options) -> Outcome:
    """Transactional steps per second."""
    make_tables(options.database)
    writer = Postgres(options.database)
    writer.connection.execute("CREATE TABLE bench_effects (number INTEGER)")
    now = to_iso(_clock.now())
    ids = [new_id() for _ in range(options.size)]
    writer.start([(run_id, "effects", "bare", "{}", now, now) for run_id in ids])
    writer.commit()
    writer.close()
    tune_process()
    parts: list[list[str]] = [[] for _ in range(_CONNECTIONS)]
    for part, run_id in zip(cycle(parts), ids, strict=False):
        part.append(run_id)
    connections = [psycopg.connect(options.database, autocommit=True, prepare_threshold=1) for _ in parts]
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        begun = time.perf_counter()
        list(pool.map(_steps, connections, parts))
        seconds = time.perf_counter() - begun
    for connection in connections:
        connection.close()
    return Outcome(options.size * _STEPS / seconds)


SHAPES: dict[str, Shape] = {"transactional-steps": _effects}

if __name__ == "__main__":
    main(SHAPES)
