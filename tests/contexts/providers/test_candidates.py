"""The table of candidates by itself: what holds for changes by hand too, and which indexes answer whom."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from windlass.bootstrap import Application, run_application
from windlass.contexts.providers import rows
from windlass.contexts.providers.api import Approval, Candidate
from windlass.contexts.providers.listing import ListQuery, page
from windlass.contexts.providers.model import AlreadyDecided, ApprovalState, Modified
from windlass.kernel.actors import Actor
from windlass.settings import Settings
from windlass.storage import urls

ADMIN = Actor("1", "ann", role="admin")
ROWS = 20_000
RUNBOOK = "SELECT * FROM candidates WHERE status = 'pending' ORDER BY created_at DESC LIMIT 20"
# One in a hundred sells mangoes, is pending, and belongs to another tenant; four sell grapes.
FILL = {
    "sqlite": f"""WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
 INSERT INTO candidates (id, tenant_id, company_name, contact_email, products, truck_count, capacity_tons_per_day,
  status, created_at, updated_at)
 SELECT printf('%036d', i), CASE WHEN i % 100 = 3 THEN 'acme' ELSE 'default' END, 'Company ' || i,
  'c' || i || '@example.com',
  CASE WHEN i % 100 = 7 THEN '["mangoes"]' WHEN i % 5000 = 11 THEN '["grapes"]' ELSE '["apples"]' END, 1, 1,
  CASE WHEN i % 100 = 5 THEN 'pending' ELSE 'approved' END,
  strftime('%Y-%m-%dT%H:%M:%f000Z', '2026-01-01', '+' || i || ' seconds'), '2026-02-01T00:00:00.000000Z' FROM n""",
    "postgresql": f"""INSERT INTO candidates (id, tenant_id, company_name, contact_email, products, truck_count,
  capacity_tons_per_day, status, created_at, updated_at)
 SELECT lpad(i::text, 36, '0'), CASE WHEN i % 100 = 3 THEN 'acme' ELSE 'default' END, 'Company ' || i,
  'c' || i || '@example.com',
  CASE WHEN i % 100 = 7 THEN '["mangoes"]' WHEN i % 5000 = 11 THEN '["grapes"]' ELSE '["apples"]' END::jsonb, 1, 1,
  CASE WHEN i % 100 = 5 THEN 'pending' ELSE 'approved' END,
  '2026-01-01T00:00:00Z'::timestamptz + make_interval(secs => i), '2026-02-01T00:00:00Z'
 FROM generate_series(1, {ROWS}) AS i""",
}


@pytest.fixture
def connection(database_url: str) -> Iterator[sa.Connection]:
    """A connection of an operator."""
    engine = sa.create_engine(urls.parse(database_url).sqlalchemy, poolclass=sa.NullPool)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connected:
        yield connected


def add(connection: sa.Connection, number: int, **values: Any) -> None:
    """Insert a candidate by hand."""
    told = {"truck_count": 1, "capacity_tons_per_day": 1, "status": "pending", "provider_id": None, **values}
    connection.execute(
        sa.text(
            "INSERT INTO candidates (id, company_name, contact_email, products, truck_count, capacity_tons_per_day,"
            " status, provider_id, created_at, updated_at) VALUES (:id, 'c', :email, '[\"apples\"]', :truck_count,"
            " :capacity_tons_per_day, :status, :provider_id, '2026-01-01T00:00:00.000000Z',"
            " '2026-01-01T00:00:00.000000Z')"
        ),
        {"id": f"c{number}", "email": f"c{number}@example.com", **told},
    )


def test_every_update_raises_the_version(connection: sa.Connection) -> None:
    for number in range(3):
        add(connection, number)

    connection.execute(sa.text("UPDATE candidates SET phone = '1'"))
    connection.execute(sa.text("UPDATE candidates SET version = 77, phone = '2' WHERE id = 'c1'"))
    connection.execute(sa.text("UPDATE candidates SET updated_at = '2026-03-01T00:00:00.000000Z' WHERE id = 'c2'"))

    found = [rows.have(connection, f"c{number}") for number in range(3)]
    assert [one.version for one in found] == [2, 3, 3]
    assert found[0].updated_at > "2026-06-01T00:00:00.000000Z"
    assert len(found[0].updated_at) == len(found[2].updated_at)
    assert found[2].updated_at == "2026-03-01T00:00:00.000000Z"


def test_the_database_refuses_what_no_candidate_is(connection: sa.Connection) -> None:
    add(connection, 0, status="approved", provider_id=10001)
    for wrong in (
        {"truck_count": 0},
        {"capacity_tons_per_day": -1},
        {"status": "approving"},
        {"email": "C0@EXAMPLE.com"},
        {"status": "approved", "provider_id": 10001},
    ):
        with pytest.raises(sa.exc.IntegrityError):
            add(connection, 1, **wrong)
    add(connection, 1)
    add(connection, 2)

    empty = "TRUNCATE candidates CASCADE" if connection.dialect.name == "postgresql" else "DELETE FROM candidates"
    connection.execute(sa.text(empty))

    assert page(connection, ListQuery("default")) == ([], 0)


def plan(connection: sa.Connection, statement: str, values: Any = ()) -> str:
    """Return how the database would answer a query."""
    if connection.dialect.name == "postgresql":
        told = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", values).scalar_one()
        return orjson.dumps(told).decode()
    return "; ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values))


def asked(connection: sa.Connection, query: ListQuery) -> list[tuple[str, Any]]:
    """Return the statements that a list asks."""
    found: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        found.append((statement, values))

    sa.event.listen(connection, "before_cursor_execute", note)
    page(connection, query)
    sa.event.remove(connection, "before_cursor_execute", note)
    return found


def test_lists_are_read_and_counted_in_indexes(connection: sa.Connection) -> None:
    postgres = connection.dialect.name == "postgresql"
    connection.execute(sa.text(FILL[connection.dialect.name]))
    connection.execute(sa.text("VACUUM ANALYZE candidates" if postgres else "ANALYZE"))
    sorted_ = '"Sort"' if postgres else "TEMP B-TREE"
    covered = "Index Only Scan" if postgres else "COVERING INDEX"

    runbook = plan(connection, RUNBOOK)
    assert "idx_candidates_status" in runbook
    assert sorted_ not in runbook
    unfiltered = plan(connection, RUNBOOK.replace("WHERE status = 'pending' ", ""))
    assert "idx_candidates_created_at" in unfiltered
    for query in (
        ListQuery("default", limit=5),
        ListQuery("default", limit=5, offset=10_000),
        ListQuery("default", status="pending", limit=5),
        ListQuery("acme", limit=5),
        ListQuery("acme", status="approved", limit=5),
    ):
        pages, count = asked(connection, query)
        for (statement, values), index in ((pages, "ix_candidates_tenant"), (count, "ix_candidates_counts")):
            told = plan(connection, statement, values)
            assert index in told, told
            assert covered in told
            assert "Seq Scan" not in told
    if postgres:
        by_hand = "SELECT * FROM candidates WHERE products @> '[\"mangoes\"]'"
        [rare] = asked(connection, ListQuery("default", product="grapes"))
        _, counted = asked(connection, ListQuery("default", product="mangoes", limit=5))
        for statement, values in ((by_hand, ()), rare, counted):
            assert "idx_candidates_products" in plan(connection, statement, values)
    assert [page(connection, ListQuery(tenant, limit=1)).total for tenant in ("default", "acme")] == [19_800, 200]
    assert page(connection, ListQuery("default", product="mangoes", limit=1)).total == 200
    assert page(connection, ListQuery("default", status="pending", limit=1)).total == 200


async def test_of_two_who_decide_one_does(database_url: str) -> None:
    settings = Settings(database_url=database_url, lease_seconds=5.0)
    async with run_application(settings, worker=False) as here, run_application(settings, worker=False) as there:

        async def approve(application: Application, candidate: Candidate, run_id: str) -> Candidate:
            engine = application.engine
            approval = Approval(ApprovalState.APPROVING, run_id, "1", "ann", candidate.created_at)
            now = engine.clock.now()
            return await engine.transact(
                lambda tx: rows.claim(tx, "default", candidate.candidate_id, None, approval, now)
            )

        async def reject(application: Application, candidate: Candidate) -> Candidate:
            found = application.providers.candidates
            return await found.reject(ADMIN, candidate.candidate_id, version=candidate.version, reason=None)

        for number in range(20):
            fields = {
                "company_name": "c", "contact_email": f"c{number}@example.com", "products": ["apples"],
                "truck_count": 1, "capacity_tons_per_day": 1,
            }  # fmt: skip
            made = await here.providers.candidates.create("default", fields)
            tried = await asyncio.gather(
                approve(here, made, "a"), reject(there, made), approve(there, made, "b"), return_exceptions=True
            )
            won = [one for one in tried if isinstance(one, Candidate)]
            lost = [one for one in tried if not isinstance(one, Candidate)]
            now = await here.providers.candidates.get("default", made.candidate_id)
            assert won == [now]
            assert now.version == 2
            assert {type(one) for one in lost} <= ({AlreadyDecided, Modified} if now.approval is None else {Modified})
