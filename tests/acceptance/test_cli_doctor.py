"""``windlass doctor`` finds each planted fault, mends it, and leaves a healthy system as it is."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.commands import Windlass, started

LONG_AGO = "2020-01-01T00:00:00.000Z"
CHECKS = {"database", "schema", "runs", "processes", "queue", "seats", "children", "counts", "journals", "artifacts"}


def change(address: str, *statements: str) -> None:
    """Change a database behind everybody's back."""
    engine = sa.create_engine(address)
    with engine.begin() as connection:
        for statement in statements:
            assert connection.execute(sa.text(statement)).rowcount == 1, statement
    engine.dispose()


def rows(address: str, query: str) -> list[tuple[Any, ...]]:
    """Ask it."""
    engine = sa.create_engine(address)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(sa.text(query))]
    engine.dispose()
    return found


@pytest.mark.parametrize("url", ["migrated_sqlite_url", "migrated_pg_dsn"], ids=["sqlite", "postgres"])
def test_every_planted_fault_is_found_and_mended(request: pytest.FixtureRequest, tmp_path: Path, url: str) -> None:
    address: str = request.getfixturevalue(url)
    windlass = Windlass(tmp_path, {"DATABASE_URL": address, "WORKFLOWS_ARTIFACTS_DIR": str(tmp_path / "files")})

    def look(*options: str, code: int = 1) -> dict[str, dict[str, str]]:
        return {check["check"]: check for check in windlass("doctor", "--json", *options, code=code).json["checks"]}

    timer, parent, child, open_gap, ended_gap, kept = [asyncio.run(started(address, "flow")) for _ in range(6)]
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(f"content {number}")
    first, second, third = [
        windlass("artifacts", "put", run_id, f"{number}.txt", "--json").json
        for number, run_id in enumerate((ended_gap, kept, kept))
    ]
    well = look()
    assert {name for name, check in well.items() if check["result"] != "ok"} == {"queue"}
    assert well.keys() >= CHECKS
    before = rows(address, "SELECT run_id, status, last_seq FROM workflow_runs ORDER BY run_id")
    assert "repair" not in look("--repair")
    assert rows(address, "SELECT run_id, status, last_seq FROM workflow_runs ORDER BY run_id") == before

    objects = {file.name.partition("-")[0]: file for file in (tmp_path / "files" / "objects").rglob("*-*")}
    objects[first["checksum_sha256"]].unlink()
    stray = tmp_path / "files" / "objects" / "ab" / f"ab{'0' * 62}-nobody"
    stray.parent.mkdir(exist_ok=True)
    stray.write_text("of nobody")
    os.utime(stray, (0, 0))
    ended = f"UPDATE workflow_runs SET ready_at = NULL, ended_at = '{LONG_AGO}', status ="
    change(
        address,
        f"UPDATE workflow_runs SET ready_at = NULL, wait_reason = 'timer:sleep#1' WHERE run_id = '{timer}'",
        f"{ended} 'succeeded' WHERE run_id = '{parent}'",
        f"UPDATE workflow_runs SET parent_run_id = '{parent}' WHERE run_id = '{child}'",
        f"UPDATE workflow_runs SET last_seq = last_seq + 2 WHERE run_id = '{open_gap}'",
        f"{ended} 'failed', last_seq = last_seq + 1 WHERE run_id = '{ended_gap}'",
        "INSERT INTO workflow_seats (name, run_id) VALUES ('default/flow/', 'gone')",
        f"INSERT INTO workflow_queue_slots (queue, slot, run_id) VALUES ('narrow', 1, '{timer}')",
    )

    found = look()
    said = {name: check["said"] for name, check in found.items() if check["result"] != "ok"}
    assert said.keys() == {"runs", "queue", "seats", "children", "journals", "artifacts"}
    assert f"1 adrift: {timer} (flow): nobody holds it and nothing will wake it" in said["runs"]
    assert said["seats"].startswith("2 runs have one that nobody holds: ")
    assert said["children"] == f"1 open runs are left below ended ones: {child} (below {parent})"
    for part in (f"{open_gap} (flow) lacks 2", f"{ended_gap} (flow) lacks 1"):
        assert part in said["journals"]
    assert "1 contents without a file: objects/" in said["artifacts"]
    assert f"1 files without a row: objects/ab/{stray.name}" in said["artifacts"]
    quick = look("--quick")
    assert not quick.keys() & {"journals", "artifacts"}

    mended = look("--repair")
    assert {name for name, check in mended.items() if check["result"] != "ok"} == {"queue"}
    done = dict(part.split(": ") for part in mended["repair"]["said"].split("; "))
    assert done == {
        "runs woken": "1", "runs with a gap cancelled": "1", "histories marked as cut": "1", "seats given back": "2",
        "ended runs whose children were cancelled": "1", "artifacts without a file removed": "1",
        "files without a row removed": "1",
    }  # fmt: skip
    states = dict(rows(address, "SELECT run_id, status FROM workflow_runs"))
    assert [states[run_id] for run_id in (timer, child, open_gap, kept)] == [
        "queued", "cancelled", "cancelled", "queued",
    ]  # fmt: skip
    assert windlass("runs", "show", open_gap, "--json").json["status_reason"] == "journal_gap"
    assert "were deleted" in windlass("runs", "retry", ended_gap, code=4).err
    assert not stray.exists()
    assert rows(address, "SELECT run_id FROM workflow_queue_slots WHERE queue = 'narrow'") == [(None,)]
    windlass("artifacts", "get", first["artifact_id"], code=3)
    assert windlass("artifacts", "get", second["artifact_id"], "-o", "-").out == "content 1"

    for one in (second, third):
        objects[one["checksum_sha256"]].unlink()
    doubted = look("--repair")
    assert "is WORKFLOWS_ARTIFACTS_DIR the right folder" in doubted["artifacts"]["advice"]
    assert len(windlass("artifacts", "list", kept, "--json").json) == 2
