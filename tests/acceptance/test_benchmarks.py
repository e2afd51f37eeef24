"""The measure still runs, and the bare limit still writes what the engine writes."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import bare, ours
from benchmarks.contender import Shape, answer
from benchmarks.model import Store
from benchmarks.sides import PEERS
from benchmarks.table import BENCHMARKS
from tests.support.paths import ROOT


@pytest.mark.timeout(400)
@pytest.mark.parametrize("store,only", [(Store.SQLITE, None), (Store.POSTGRES, "ten-steps")])
def test_a_quick_run_measures_every_side_of_our_own(tmp_path: Path, store: Store, only: str | None) -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--store", store.value]
    command += ["--output", str(tmp_path), "--folder", str(tmp_path)]
    command += [] if only is None else ["--only", only]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "results.json").read_text())["benchmarks"]
    assert set(found) == {benchmark.name for benchmark in BENCHMARKS if only in {None, benchmark.name}}
    for benchmark in BENCHMARKS:
        if benchmark.name in found:
            measured = {one["side"] for one in found[benchmark.name]["sides"] if min(one["values"]) > 0}
            sides = [one for one in benchmark.sides() if one.contender not in PEERS and one.store is store]
            assert measured == {one.name for one in sides}
    assert "## Machine and versions" in (tmp_path / "results.md").read_text()


def test_a_checkout_is_measured_against_another(tmp_path: Path) -> None:
    output = tmp_path / "ratios.json"
    command = [sys.executable, "-m", "benchmarks.against", str(ROOT), "--quick", "--rounds", "1", "--store", "SQLite"]
    command += ["--folder", str(tmp_path), "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [ratio] = json.loads(output.read_text())["windlass ten-steps, SQLite"]
    assert ratio > 0
    command[3] = str(tmp_path)
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "is no checkout" in refused.stderr


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
