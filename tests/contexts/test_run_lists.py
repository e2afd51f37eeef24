"""Lists of runs in trouble: right, and read from an index however many other runs there are."""

import re
import threading
from functools import partial
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

from windlass.bootstrap import Application
from windlass.contexts.workflows import sight
from windlass.engine.types import RunFilter, Sight
from windlass.storage import queries, run_filters, run_lists
from windlass.storage.run_lists import RunQuery, list_page, matching
from windlass.storage.schema import CLOSED

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
MIXED = f"""INSERT INTO workflow_runs (run_id, tenant_id, user_id, workflow_id, name, status, queue, wait_reason,
 parent_run_id, failed_attempts, error, inputs_json, created_at, started_at, ended_at)
 WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {MANY}),
 s AS (SELECT n, %AT% AS at, CASE WHEN n % 50 = 10 THEN 10 ELSE n % 1000 END AS sort FROM n)
 SELECT 's' || n, CASE sort WHEN 11 THEN 'other' ELSE 'default' END,
 CASE sort WHEN 1 THEN 'ann' WHEN 3 THEN NULL WHEN 9 THEN NULL ELSE 'bob' END, CASE sort WHEN 2 THEN 9 ELSE n % 7 END,
 CASE sort WHEN 3 THEN 'daily' WHEN 9 THEN 'part' WHEN 12 THEN 'webhooks.deliver' ELSE 'workflows.run' END,
 CASE sort WHEN 4 THEN 'running' WHEN 6 THEN 'failed' WHEN 7 THEN 'cancelled' WHEN 10 THEN 'failed'
 ELSE 'succeeded' END, CASE sort WHEN 3 THEN 'side' ELSE 'workflows' END, CASE sort WHEN 4 THEN 'signal:paid' END,
 CASE sort WHEN 9 THEN 'parent' END, CASE sort WHEN 4 THEN 5 WHEN 7 THEN 6 WHEN 10 THEN 2 ELSE n % 2 END,
 CASE sort WHEN 6 THEN %JSON%('{{"message":"quota_exceeded: today"}}')
 WHEN 10 THEN %JSON%('{{"message":"webhook_failed: 500"}}') END, %JSON%('{{}}'), at, at, at FROM s"""
"""Twenty runs of each of some sorts among many."""
LOOKED_AT = re.compile(r" on workflow_runs.* rows=([\d.]+) loops=(\d+)|Rows Removed by Filter: (\d+)")
STEPS = 1000
"""Of SQLite's machine: a hundred count as a row."""
BOB = RunQuery("workflows.run", "default", owner="bob", limit=30)
PAGES = [
    BOB,
    BOB._replace(owner="ann"),
    BOB._replace(owner="ann", statuses=("failed",)),
    BOB._replace(owner="ann", workflow_id=4),
    BOB._replace(owner="ann", error_class="webhook"),
    BOB._replace(workflow_id=9),
    BOB._replace(workflow_id=9, statuses=("failed", "running"), descending=False),
    BOB._replace(statuses=("cancelled",)),
    BOB._replace(statuses=("cancelled",), owner=None),
    BOB._replace(owner=None, tenant_id="other"),
    BOB._replace(owner=None, tenant_id="other", workflow_id=3),
    BOB._replace(waiting_on="signal"),
    BOB._replace(waiting_on="sleeping"),
    BOB._replace(error_class="quota"),
    BOB._replace(error_class="nothing"),
    BOB._replace(order_by="started_at", after=("2026-01-01T03:00:00.500Z", "r")),
    BOB._replace(order_by="ended_at", statuses=("cancelled",), descending=False),
    BOB._replace(order_by="started_at", workflow_id=9),
    BOB._replace(order_by="ended_at", workflow_id=3, owner="ann"),
    BOB._replace(created_after="2026-01-01T03:00:00.500Z", created_before="2026-01-01T03:01:00.500Z"),
    BOB._replace(offset=100),
    BOB._replace(failing=True),
    BOB._replace(failing=True, attempt_gte=4, owner=None),
    BOB._replace(attempt_gte=2),
    BOB._replace(attempt_gte=6),
]
SIGHTS = [
    None,
    Sight(("default",), CLOSED, None, None),
    Sight(("default",), CLOSED, "default", "ann"),
    Sight(("default", "other"), CLOSED, "other", None),
]
FILTERS = [
    RunFilter(limit=30),
    RunFilter(name="daily", limit=30),
    RunFilter(name="webhooks.deliver", limit=30),
    RunFilter(queue="side", limit=30),
    RunFilter(queue="nothing", limit=30),
    RunFilter(parent_run_id="parent", limit=30),
    RunFilter(status=("cancelled",), limit=30),
    RunFilter(error_class="quota", limit=30),
    RunFilter(failing=True, limit=30),
    RunFilter(attempt_gte=3, limit=30),
    RunFilter(waiting_on="child", limit=30),
    RunFilter(before=("2026-01-01T03:00:00.500Z", "r"), limit=30),
    RunFilter(status=("queued",), error_class="quota", limit=30),
    RunFilter(status=("succeeded",), waiting_on="child", limit=30),
]


def numbers(run_ids: list[str]) -> list[int]:
    """The numbers of runs, in order."""
    return sorted(int(run_id[1:]) for run_id in run_ids)


@pytest.mark.parametrize("asked_by", [(queries, "kinds"), (queries, "in_trouble"), (run_lists, "in_trouble")])
async def test_a_run_that_moves_while_a_page_is_read_is_neither_missed_nor_seen_twice(
    mixed: Application, monkeypatch: pytest.MonkeyPatch, asked_by: tuple[Any, str]
) -> None:
    module, name = asked_by
    known = getattr(module, name)

    def moving(*given: Any) -> Any:
        found = known(*given)
        with sa.create_engine(mixed.settings.database.sqlalchemy, poolclass=sa.NullPool).begin() as other:
            other.execute(
                sa.text("UPDATE workflow_runs SET status = 'paused', failed_attempts = 9 WHERE run_id = 's4'")
            )
        return found

    monkeypatch.setattr(module, name, moving)
    if module is run_lists:
        wanted = OWN._replace(owner="bob", attempt_gte=5, statuses=("running",), limit=1000, descending=False)
        ids = [run.run_id for run in await mixed.engine.read(lambda connection: list_page(connection, wanted))]
    else:
        least = 5 if name == "in_trouble" else None
        lists = mixed.engine.backend.reader.list_runs
        ids = [run.run_id for run in lists(RunFilter(status=("running", "paused"), limit=1000, attempt_gte=least))]

    assert ids.count("s4") == 1
    moved = mixed.engine.backend.reader.get_run("s4")
    assert moved is not None
    assert moved.status == "paused"


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
        if sql.startswith(("BEGIN", "ROLLBACK")):
            return
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
    assert [plan for plan in seen if "ix_workflow_runs_failing" in plan or "ix_workflow_runs_attempts" in plan] == seen

    newest, further, some, skipped, eldest, ids = await running.engine.read(whole)
    assert newest == [f"r{n}" for n in range(MANY, MANY - 3, -1)]
    assert further == [f"r{n}" for n in range(MANY - 3, MANY - 6, -1)]
    assert some == [f"r{n}" for n in range(MANY, 0, -1) if n % 3][:3]
    assert skipped == [f"r{n}" for n in range(MANY - 1, MANY - 4, -1)]
    assert eldest == ids == ["r1", "r2", "r3"]
    assert "SCAN workflow_runs" not in "".join(seen)
    assert "Seq Scan" not in "".join(seen)

    engine = running.engine
    found = await engine.list_runs(RunFilter(failing=True, limit=200))
    assert numbers([run.run_id for run in found]) == is_open
    assert await engine.list_runs(RunFilter(attempt_gte=41)) == []


@pytest.mark.parametrize("given", [{"attempt_gte": 41}, {"waiting_on": "signal:x"}, {"error_class": "timeout"}])
async def test_who_asks_for_what_is_not_there_gets_nothing(running: Application, given: dict[str, Any]) -> None:
    assert await running.engine.list_runs(RunFilter(**given)) == []


def test_runs_that_only_some_may_see_are_those_of_the_indexes() -> None:
    assert sight.CLOSED == CLOSED


class Row(NamedTuple):
    """What ``MIXED`` puts there, said once more."""

    n: int
    sort: int

    def fits(self, query: Any) -> bool:
        """Say whether a query is for it."""
        name = {3: "daily", 9: "part", 12: "webhooks.deliver"}.get(self.sort, "workflows.run")
        tenant = "other" if self.sort == 11 else "default"
        owner = {1: "ann", 3: None, 9: None}.get(self.sort, "bob")
        status = {4: "running", 6: "failed", 7: "cancelled", 10: "failed"}.get(self.sort, "succeeded")
        error = {6: "quota_exceeded", 10: "webhook_failed"}.get(self.sort, "")
        attempts = {4: 5, 7: 6, 10: 2}.get(self.sort, self.n % 2)
        wait = "signal:paid" if self.sort == 4 else ""
        fits = (
            query.name in {None, name}
            and (query.error_class is None or error.startswith(query.error_class))
            and attempts >= (query.attempt_gte or 0)
            and (not query.failing or self.sort == 4)
            and (query.waiting_on is None or (wait != "" and wait.startswith(query.waiting_on)))
            and (query.created_after is None or self.n > 10_800)
            and (query.created_before is None or self.n <= 10_860)
        )
        if isinstance(query, RunQuery):
            workflow = 9 if self.sort == 2 else self.n % 7
            fits &= query.tenant_id == tenant and query.owner in {None, owner}
            fits &= query.workflow_id in {None, workflow} and (not query.statuses or status in query.statuses)
            return fits and (query.after is None or self.n <= 10_800)
        fits &= query.queue in {None, "side" if self.sort == 3 else "workflows"}
        fits &= query.parent_run_id is None or self.sort == 9
        fits &= (not query.status or status in query.status) and (query.before is None or self.n <= 10_800)
        who = query.sight
        if who is None or name not in CLOSED:
            return fits and (who is None or tenant in who.tenants)
        return fits and who.tenant == tenant and who.owner in {None, owner}


ROWS = [Row(n, 10 if n % 50 == 10 else n % 1000) for n in range(1, MANY + 1)]


def expected(query: Any) -> list[str]:
    """The ids on the page of a query."""
    newest = getattr(query, "descending", True)
    found = [f"s{row.n}" for row in (reversed(ROWS) if newest else ROWS) if row.fits(query)]
    offset = getattr(query, "offset", 0)
    return found[offset : offset + query.limit]


@pytest.fixture
async def mixed(running: Application) -> Application:
    """The application with many runs, of some sorts of which there are few."""

    def fill(tx: Any) -> None:
        dialect = tx.connection.dialect.name
        sql = MIXED.replace("%AT%", AT[dialect]).replace("%JSON%", "jsonb" if dialect == "postgresql" else "")
        tx.connection.execute(sa.text(sql.replace(":", "\\:")))
        if dialect == "postgresql":
            tx.connection.execute(sa.text("ANALYZE workflow_runs"))

    await running.engine.transact(fill)
    return running


async def test_a_page_is_read_from_an_index_whatever_else_there_is(mixed: Application) -> None:
    """However few runs are asked for: to look at all takes twenty times what is allowed here, on either database."""
    lists = mixed.engine.backend.reader.list_runs
    asker = work = 0

    def stepped() -> int:
        nonlocal work
        work += STEPS // 100
        return 0

    def counted(asked: sa.Connection, cursor: Any, sql: str, values: Any, _x: Any, _many: bool) -> None:
        nonlocal work
        if threading.get_ident() != asker:
            return  # the application's own, meanwhile
        if sql.startswith(("BEGIN", "ROLLBACK")):
            return
        if asked.dialect.name == "sqlite":
            cursor.connection.set_progress_handler(stepped, STEPS)
            return
        plan = cursor.execute(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {sql}", values).fetchall()
        for rows, loops, removed in LOOKED_AT.findall("\n".join(row[0] for row in plan)):
            work += round(float(rows or removed) * int(loops or 1))

    def look(connection: sa.Connection) -> dict[Any, tuple[list[str], int]]:
        nonlocal asker, work
        asker = threading.get_ident()
        found: dict[Any, tuple[list[str], int]] = {}
        sa.event.listen(connection.engine, "before_cursor_execute", counted)
        sa.event.listen(connection, "before_cursor_execute", counted)
        asked: list[RunQuery | RunFilter] = [*PAGES, *(one._replace(sight=who) for one in FILTERS for who in SIGHTS)]
        for query in asked:
            work = 0
            page = list_page(connection, query) if isinstance(query, RunQuery) else lists(query)
            found[query] = [run.run_id for run in page], work
        asker = 0
        sa.event.remove(connection.engine, "before_cursor_execute", counted)
        return found

    found = await mixed.engine.read(look)

    for query, (ids, looked_at) in found.items():
        assert ids == expected(query), query
        assert looked_at < MANY // 40, query
    assert sum(looked_at for _, looked_at in found.values()) > MANY // 40


async def test_where_there_are_very_many_tenants_and_attempts_none_is_left_out(
    mixed: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_filters, "_MOST_PARTS", 1)
    lists = mixed.engine.backend.reader.list_runs
    asked = [one for one in FILTERS if one.failing or one.attempt_gte or one.error_class]
    pages = [one for one in PAGES if one.failing or one.attempt_gte or one.error_class]

    assert [[run.run_id for run in lists(one)] for one in asked] == [expected(one) for one in asked]
    for query in pages:
        found = await mixed.engine.read(partial(list_page, query=query))
        assert [run.run_id for run in found] == expected(query), query
