"""The measure still runs, and the bare limit still writes what the engine writes."""

import sqlite3
from pathlib import Path

from benchmarks import bare, ours
from benchmarks.contender import Shape, answer


def journal(shapes: dict[str, Shape], folder: Path, at_a_time: int) -> tuple[list[tuple[object, ...]], ...]:
    """Run 1-step workflows and return their kinds of event rows and run rows, each with its lengths."""
    folder.mkdir()
    path = folder / "bench.db"
    common = ["--database", f"sqlite:///{path}", "--folder", str(folder), "--at-a-time", str(at_a_time)]
    answer(shapes, ["one-step", "--size", str(at_a_time), *common])
    with sqlite3.connect(path) as connection:
        events = connection.execute(
            "SELECT event_seq, event_type, step_id, length(payload_json), length(created_at), count(*) > 0"
            " FROM workflow_events GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2"
        ).fetchall()
        runs = connection.execute(
            "SELECT DISTINCT length(run_id), tenant_id, name, interface_version, status, queue, holder, deaths,"
            " last_seq, attributes, inputs_json, outputs_json, length(created_at), length(started_at),"
            " length(ended_at) FROM workflow_runs"
        ).fetchall()
    return events, runs


def test_the_bare_limit_writes_the_rows_of_the_engine(tmp_path: Path) -> None:
    assert journal(bare.SHAPES, tmp_path / "bare", 4) == journal(ours.SHAPES, tmp_path / "ours", 4)
