"""Several processes writing to one SQLite file as fast as they can: nobody is refused, nobody waits long."""

import sys
from pathlib import Path

import pytest

from tests.faults.crew import crew
from tests.faults.verdict import create_effects, judge, wait_for_rest
from tests.support.waiting import wait_until

ORDERS = 400
MOST_TURNS_PER_PROCESS = 6
"""So many turns the others may have, each, while one waits for its own."""
WAL_LIMIT = 64 * 1024 * 1024


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_a_file_in_turns(count: int, migrated_sqlite_url: str, tmp_path: Path) -> None:
    create_effects(migrated_sqlite_url)
    wal = Path(f"{migrated_sqlite_url.removeprefix('sqlite:///')}-wal")
    largest = 0

    def all_done() -> bool:
        nonlocal largest
        largest = max(largest, wal.stat().st_size if wal.exists() else 0)
        return all(member.said("done") for member in processes.members)

    with crew(migrated_sqlite_url, tmp_path) as processes:
        turns = ["--turns", str(tmp_path / "turns")]
        for number in range(count):
            processes.start(f"writer{number}", "--client", str(ORDERS), "--at-once", "20", *turns)
        wait_until(all_done, timeout=100, what="all orders to be acknowledged")
        wait_for_rest(migrated_sqlite_url)
        for member in processes.members:
            member.end()
        seen = [member.said("turns")[0] for member in processes.members]
        sys.stdout.write(f"turns: {seen}, largest WAL: {largest} bytes\n")

        assert "database is locked" not in processes.printed
        assert [member.said("refused") for member in processes.members] == [[]] * count
        assert all(turn["count"] > 20 for turn in seen)
        assert max(turn["most"] for turn in seen) <= MOST_TURNS_PER_PROCESS * count
        assert largest < WAL_LIMIT
        judge(migrated_sqlite_url, processes.acknowledged)
        assert len(set(processes.acknowledged)) == count * ORDERS
