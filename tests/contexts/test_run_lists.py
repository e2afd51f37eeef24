"""Lists of runs in trouble: right, and read from an index however many other runs there are."""

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from windlass.bootstrap import Application
from windlass.engine.types import RunFilter, Sight
from windlass.storage.run_lists import RunQuery, list_page, matching

MANY = 20_000
FILL = f"""INSERT INTO workflow_runs (run_id, tenant_id, user_id, workflow_id, name, status,
 failed_attempts, inputs_json, created_at)
 WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {MANY})
 SELECT 'r' || n, 'default', CASE n % 2 WHEN 0 THEN 'ann' ELSE 'bob' END, n % 7, 'workflows.run',
 CASE n % 3 WHEN 0 THEN 'succeeded' ELSE 'running' END, CASE WHEN n % 500 = 0 THEN n / 500 END, '{{}}', %AT% FROM n"""
AT = {
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%fZ', '2026-01-01', n || ' seconds')",
    "postgresql": "timestamptz '2026-01-01' + n * interval '1 second'",
}
ALL = list(range(500, MANY + 1, 500))
OWN = RunQuery("workflows.run", "default", owner="ann")
EVERYBODYS = RunQuery("workflows.run", "default")


def numbers(run_ids: list[str]) -> list[int]:
    """The numbers of runs, in order."""
    return sorted(int(run_id[1:]) for run_id in run_ids)


async def test_runs_in_trouble_are_found_by_index(running: Application) -> None:
    seen: list[str] = []
    asking: list[int] = []

    def fill(tx: Any) -> None:
        dialect = tx.connection.dialect.name
        tx.connection.execute(sa.text(FILL.replace("%AT%", AT[dialect]).replace(":", "\\:")))
        if dialect == "postgresql":
            tx.connection.execute(sa.text("ANALYZE workflow_runs"))

    await running.engine.transact(fill)

    def explained(asked: sa.Connection, cursor: Any, sql: str, values: Any, _x: Any, _many: bool) -> None:
        if asking and asking[-1] != threading.get_ident():
            return  # the application's own, meanwhile
        lite = asked.dialect.name == "sqlite"
        rows = cursor.execute(f"EXPLAIN {'QUERY PLAN' if lite else ''} {sql}", values).fetchall()
        seen.append("\n".join(str(row[-1]) for row in rows))

    def look(connection: sa.Connection) -> list[list[int]]:
        sa.event.listen(connection, "before_cursor_execute", explained)
        pages = [
            list_page(connection, OWN._replace(failing=True, limit=200)),
            list_page(connection, OWN._replace(attempt_gte=30, limit=200)),
            list_page(connection, OWN._replace(failing=True, attempt_gte=30, workflow_id=3, owner="ann", limit=200)),
        ]
        assert all(run.inputs is run.outputs is None for page in pages for run in page)  # not read: may be large
        oldest = matching(connection, OWN._replace(failing=True, limit=5))
        return [numbers([run.run_id for run in page]) for page in pages] + [numbers([run_id for run_id, _ in oldest])]

    def whole(connection: sa.Connection) -> list[list[str]]:
        seen.clear()
        asking.append(threading.get_ident())
        sa.event.listen(connection.engine, "before_cursor_execute", explained)
        lists = running.engine.backend.reader.list_runs
        first = lists(RunFilter(sight=Sight(("default",), ("other",), None, None), limit=3))
        pages = [
            first,
            lists(RunFilter(before=(first[-1].created_at, first[-1].run_id), limit=3)),
            lists(RunFilter(status=("running", "failed"), limit=3)),
            list_page(connection, EVERYBODYS._replace(limit=3, offset=1)),
            list_page(connection, EVERYBODYS._replace(descending=False, limit=3)),
        ]
        sa.event.remove(connection.engine, "before_cursor_execute", explained)
        return [[run.run_id for run in page] for page in pages] + [
            [run_id for run_id, _ in matching(connection, EVERYBODYS._replace(limit=3))]
        ]

    failing, often, both, oldest = await running.engine.read(look)

    is_open = [n for n in ALL if n % 3]
    assert failing == is_open
    assert often == [n for n in ALL if n >= 15_000]
    assert both == [n for n in is_open if n >= 15_000 and n % 7 == 3]
    assert oldest == is_open[:5]
    assert len(seen) == 4
    for plan in seen:
        assert "ix_workflow_runs_failing" in plan or "ix_workflow_runs_attempts" in plan, plan
        assert "TEMP B-TREE" not in plan, plan
        assert "Sort" not in plan, plan

    newest, further, some, skipped, eldest, ids = await running.engine.read(whole)
    assert newest == [f"r{n}" for n in range(MANY, MANY - 3, -1)]
    assert further == [f"r{n}" for n in range(MANY - 3, MANY - 6, -1)]
    assert some == [f"r{n}" for n in range(MANY, 0, -1) if n % 3][:3]
    assert skipped == [f"r{n}" for n in range(MANY - 1, MANY - 4, -1)]
    assert eldest == ids == ["r1", "r2", "r3"]
    assert [plan.count("ix_workflow_runs_list") for plan in seen] == [8, 8, 2, 8, 8], seen
    assert "SCAN workflow_runs" not in "".join(seen)
    assert "Seq Scan" not in "".join(seen)

    engine = running.engine
    found = await engine.list_runs(RunFilter(failing=True, limit=200))
    assert numbers([run.run_id for run in found]) == is_open
    assert await engine.list_runs(RunFilter(attempt_gte=41)) == []


@pytest.mark.parametrize("given", [{"attempt_gte": 41}, {"waiting_on": "signal:x"}, {"error_class": "timeout"}])
async def test_who_asks_for_what_is_not_there_gets_nothing(running: Application, given: dict[str, Any]) -> None:
    assert await running.engine.list_runs(RunFilter(**given)) == []
