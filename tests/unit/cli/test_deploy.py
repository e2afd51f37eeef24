"""What an export reads: every open run once, however many are as old as each other, and none of Windlass's own."""

from typing import Any

import pytest

from windlass.cli.client.protocol import RunQuery
from windlass.cli.work import deploy


class Listing:
    """Lists runs as a server does: newest first, up to a limit, those up to a moment."""

    def __init__(self, runs: list[dict[str, Any]]) -> None:
        self.runs = sorted(runs, key=lambda run: (run["created_at"], run["run_id"]), reverse=True)
        self.asked: list[int] = []

    async def list_runs(self, query: RunQuery) -> list[dict[str, Any]]:
        self.asked.append(query.limit)
        found = [
            run
            for run in self.runs
            if query.status == run["status"]
            and query.name in {None, run["name"]}
            and (query.created_before is None or run["created_at"] <= query.created_before)
        ]
        return found[: query.limit]


@pytest.mark.parametrize("together", [1, 2, 3, 7, 40])
async def test_every_open_run_is_read_once(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "PAGE", 3)
    runs = [
        {
            "run_id": f"r{number}", "created_at": f"{number // together:03}", "status": status,
            "name": ("flow", "other", "workflows.run")[number % 3],
        }
        for number in range(40)
        for status in ("queued", "waiting_human", "succeeded")
    ]  # fmt: skip
    client: Any = Listing(runs)

    async def found(*names: str) -> list[tuple[str, str]]:
        return sorted([(run["run_id"], run["status"]) async for run in deploy._open_runs(client, names)])

    wanted = [(run["run_id"], run["status"]) for run in runs if run["status"] != "succeeded"]
    own = {run["run_id"] for run in runs if run["name"] == "workflows.run"}
    assert await found() == sorted(pair for pair in wanted if pair[0] not in own)
    assert len(await found("flow", "other")) == len(await found())
    assert max(client.asked) <= max(6, 4 * together)
