"""How many candidates there are, by tenant, status and product; the product ``''`` stands for all of them.

Triggers of migration 0017 keep the numbers with every change, by hand too, TRUNCATE included: a total costs the same
however many there are. On PostgreSQL each connection adds to rows of its own, so that nobody waits for another. What no
trigger sees is a table that was dropped and restored by itself: a process that starts compares, and counts anew.
"""

from __future__ import annotations

import sqlalchemy as sa

from windlass.contexts.providers.tables import candidate_counts
from windlass.engine.ports import Transaction

_WRONG = sa.text("""SELECT 1 FROM (
  SELECT tenant_id, status, count(*) AS amount FROM candidates GROUP BY tenant_id, status
  UNION ALL
  SELECT tenant_id, status, -sum(amount) FROM candidate_counts WHERE product = '' GROUP BY tenant_id, status
 ) AS both_sides GROUP BY tenant_id, status HAVING sum(amount) <> 0 LIMIT 1""")
_LOCK = "LOCK TABLE candidates IN SHARE ROW EXCLUSIVE MODE"
_WHOLE = """INSERT INTO candidate_counts (tenant_id, status, product, shard, amount)
 SELECT tenant_id, status, '', 0, count(*) FROM candidates GROUP BY tenant_id, status"""
_BY_PRODUCT = {
    "sqlite": """INSERT INTO candidate_counts (tenant_id, status, product, shard, amount)
 SELECT tenant_id, status, value, 0, count(DISTINCT candidates.id) FROM candidates, json_each(products)
 GROUP BY tenant_id, status, value""",
    "postgresql": """INSERT INTO candidate_counts (tenant_id, status, product, shard, amount)
 SELECT tenant_id, status, value, 0, count(DISTINCT id) FROM candidates, jsonb_array_elements_text(products) AS value
 GROUP BY tenant_id, status, value""",
}


def total(connection: sa.Connection, tenant_id: str, status: str | None, product: str | None) -> int:
    """Return how many candidates a tenant has, of a status and with a product where these are given."""
    c = candidate_counts.c
    wanted = [c.tenant_id == tenant_id, c.product == (product or "")]
    if status is not None:
        wanted.append(c.status == status)
    found: int | None = connection.execute(sa.select(sa.func.sum(c.amount)).where(*wanted)).scalar()
    return int(found or 0)


def wrong(connection: sa.Connection) -> bool:
    """Say whether the numbers are not those of the candidates."""
    return connection.execute(_WRONG).first() is not None


def rebuild(tx: Transaction) -> None:
    """Count all candidates anew; nobody changes one meanwhile."""
    kind = tx.connection.dialect.name
    if kind == "postgresql":
        tx.execute(_LOCK)
    tx.execute("DELETE FROM candidate_counts")
    tx.execute(_WHOLE)
    tx.execute(_BY_PRODUCT[kind])
