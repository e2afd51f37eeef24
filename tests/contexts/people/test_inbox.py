"""What waits for somebody: its pages, and what they cost."""

from typing import Any

import pytest
import sqlalchemy as sa

from tests.contexts.people.asked import ADMIN, ANN, BOB, Office, asked, person, start, steps
from windlass import Engine
from windlass.contexts.people import listing, store
from windlass.contexts.people.listing import Position
from windlass.kernel.actors import Forbidden
from windlass.kernel.errors import ValidationFailed


async def test_a_list_comes_in_pages_oldest_first(office: Office, engine: Engine) -> None:
    people = office.people[engine]
    handles = []
    for number in range(5):
        assigned = ["ann", "role:user"] if number % 2 else "ann"
        handles.append(await asked(await start(engine, step_id=f"s{number}", assigned_to=assigned)))
        office.lab.clock.move(seconds=1)
    other = await engine.start_run("people.ask_one", options={"step_id": "theirs"}, tenant_id="other")
    await asked(other)

    for actor, everybody in ((ANN, False), (ADMIN, True)):
        seen, cursor = [], None
        while True:
            page = await people.inbox(actor, everybody=everybody, cursor=cursor, limit=2)
            seen += steps(page)
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == ["s0", "s1", "s2", "s3", "s4"]
    assert steps(await people.inbox(BOB)) == ["s1", "s3"]
    assert steps(await people.inbox(person("ann", tenant_id="other"))) == ["theirs"]
    with pytest.raises(Forbidden):
        await people.inbox(ANN, everybody=True)
    with pytest.raises(ValidationFailed, match="cursor"):
        await people.inbox(ANN, cursor="nonsense")
    for handle in [*handles, other]:
        await handle.cancel()


async def test_the_questions_of_a_deleted_run_go_with_it(office: Office, engine: Engine) -> None:
    people = office.people[engine]
    handle, other = await asked(await start(engine)), await asked(await start(engine))
    await people.decide(ANN, handle.run_id, "review", "approve")
    await handle.result(timeout=10)
    sql = "DELETE FROM workflow_runs WHERE run_id = :run_id"
    await engine.transact(lambda tx: tx.execute(sql, {"run_id": handle.run_id}).rowcount)

    assert await people.of_run(handle.run_id) == []
    assert [len(said) for _, said in await people.of_run(other.run_id)] == [0]
    count = "SELECT count(*) FROM workflow_human_decisions"
    assert await engine.transact(lambda tx: tx.execute(count).fetchone()[0]) == 0
    await other.cancel()


@pytest.mark.parametrize("database_url", ["migrated_sqlite_url"], indirect=True)
async def test_lists_are_read_from_an_index(engine: Engine) -> None:
    """Whatever was answered before, a page reads open questions alone, in the order of an index."""
    seen: list[str] = []

    def look(connection: sa.Connection) -> None:
        @sa.event.listens_for(connection, "before_cursor_execute")
        def explain(_c: Any, cursor: Any, sql: str, values: Any, _x: Any, _many: bool) -> None:
            seen.extend(str(row[3]) for row in cursor.execute(f"EXPLAIN QUERY PLAN {sql}", values))

        after = Position("2026-01-01T00:00:00.000000Z", "t")
        listing.mine(connection, ANN, after, 50)
        listing.everybodys(connection, "default", after, 50)
        listing.left_over(connection, after, 50)
        store.find(connection, "r", "s")

    await engine.read(look)
    scans = [line for line in seen if line.startswith("SCAN") and "chosen" not in line]
    tables = [line for line in scans if "workflow" in line]
    assert tables == []
    assert any("workflow_human_inbox USING" in line and "opened_at" in line for line in seen), seen
    assert any("ix_workflow_human_tasks_tenant" in line for line in seen), seen
    assert any("ix_workflow_human_tasks_open" in line for line in seen), seen
    assert any("ix_workflow_human_tasks_step" in line for line in seen), seen
