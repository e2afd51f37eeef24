"""What must be true of a database after whatever happened: nothing lost, nothing doubled, nothing adrift."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import orjson
import sqlalchemy as sa

from tests.faults.load import EFFECTS
from tests.support.waiting import wait_until
from windlass.engine.types import TERMINAL
from windlass.storage.invariant import adrift
from windlass.storage.queries import text

OPEN = sa.text(
    "SELECT count(*) FROM workflow_runs WHERE status NOT IN ("
    + ",".join(f"'{status.value}'" for status in sorted(TERMINAL))
    + ")"
)
NUMBERS = sa.text(
    "SELECT r.run_id, r.last_seq, count(e.event_seq), min(e.event_seq), max(e.event_seq) FROM workflow_runs r"
    " LEFT JOIN workflow_events e ON e.run_id = r.run_id GROUP BY r.run_id, r.last_seq"
)
OUTCOMES = sa.text("SELECT run_id, step_id, payload_json FROM workflow_events WHERE event_type = 'step_completed'")


@contextmanager
def looking(url: str) -> Iterator[sa.Engine]:
    """Give a way to look at a database past the engine."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        yield engine
    finally:
        engine.dispose()


def create_effects(url: str) -> None:
    """Create the user's table."""
    with looking(url) as engine:
        EFFECTS.metadata.create_all(engine)


def wait_for_rest(url: str, timeout: float = 60.0) -> None:
    """Wait until no run is open."""
    with looking(url) as engine:

        def still() -> bool:
            with engine.connect() as connection:
                return int(connection.execute(OPEN).scalar_one()) == 0

        wait_until(still, timeout, "the end of all runs")


def judge(url: str, acknowledged: Collection[str]) -> None:
    """Judge a database whose runs have ended.

    Every acknowledged run has succeeded, events count 1, 2, 3 …, every effect of a transactional step is there once
    and has its event, and no run is without holder or wake-up.
    """
    with looking(url) as engine, engine.connect() as connection:
        status = {row[0]: row[1] for row in connection.execute(sa.text("SELECT run_id, status FROM workflow_runs"))}
        lost = [run_id for run_id in acknowledged if status.get(run_id) != "succeeded"]
        assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged runs: {[status.get(r) for r in lost[:5]]}"
        gaps = [row for row in connection.execute(NUMBERS) if not (row[1] == row[2] == row[4] and row[3] == 1)]
        assert not gaps, f"events with gaps: {gaps[:5]}"
        _judge_effects(connection)
        assert adrift(connection, ()) == []


def _judge_effects(connection: sa.Connection) -> None:
    rows = [tuple(row) for row in connection.execute(EFFECTS.select())]
    doubled = [row for row, count in Counter((row[0], row[1]) for row in rows).items() if count > 1]
    assert not doubled, f"{len(doubled)} effects happened twice: {doubled[:5]}"
    events = {
        (run_id, path): orjson.loads(text(payload) or "{}")["output"]
        for run_id, path, payload in connection.execute(OUTCOMES)
    }
    booked = {key: output for key, output in events.items() if "book#" in key[1]}
    assert {(row[0], row[1]): row[2] for row in rows} == booked
