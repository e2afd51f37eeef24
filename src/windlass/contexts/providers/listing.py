"""Lists of candidates, newest first.

A page is read from an index in its order, whatever its offset leaves out, and its rows are looked up afterwards. The
total is exact, and is not counted but known: see ``counts``. Who
offers a product is found by the GIN index on PostgreSQL and by looking at each row of the filter on SQLite; ``q`` is
looked for in each row of the filter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from windlass.contexts.providers import counts
from windlass.contexts.providers.model import Candidate
from windlass.contexts.providers.rows import candidate
from windlass.contexts.providers.tables import candidates
from windlass.storage.schema import json_text

DEFAULT_LIMIT = 20
MAX_LIMIT = 100


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A page of a tenant's candidates.

    ``q`` is a part of the company's name or e-mail address, in whatever case; letters outside of ASCII in the same.
    ``approval`` is the state of an approval under way.
    """

    tenant_id: str
    status: str | None = None
    product: str | None = None
    q: str | None = None
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    approval: str | None = None


class Page(NamedTuple):
    """A page of candidates, and how many there are in all."""

    items: list[Candidate]
    total: int


def page(connection: sa.Connection, query: ListQuery) -> Page:
    """Return a page."""
    c = candidates.c
    wanted = _wanted(connection, query)
    keys = sa.select(c.id).where(*wanted).order_by(c.created_at.desc(), c.id.desc())
    chosen = keys.limit(query.limit).offset(query.offset).subquery("chosen")
    rows = connection.execute(
        sa.select(candidates).join(chosen, chosen.c.id == c.id).order_by(c.created_at.desc(), c.id.desc())
    ).mappings()
    found = [candidate(row) for row in rows]
    if len(found) < query.limit and (found or not query.offset):
        return Page(found, query.offset + len(found))
    if query.q is None and query.approval is None:
        return Page(found, counts.total(connection, query.tenant_id, query.status, query.product))
    counted = sa.select(sa.func.count()).select_from(candidates).where(*wanted)
    return Page(found, connection.execute(counted).scalar_one())


def _wanted(connection: sa.Connection, query: ListQuery) -> list[sa.ColumnElement[bool]]:
    c = candidates.c
    wanted: list[sa.ColumnElement[bool]] = [c.tenant_id == query.tenant_id]
    if query.status is not None:
        wanted.append(c.status == query.status)
    if query.approval is not None:
        wanted.append(c.approval_state == query.approval)
    if query.product is not None:
        wanted.append(_offers(connection, query.product))
    if query.q is not None:
        texts = (c.company_name, c.contact_email)
        folded = [sa.func.lower(text).contains(query.q.lower(), autoescape=True) for text in texts]
        given = [text.contains(query.q, autoescape=True) for text in texts]  # what no database folds, such as umlauts
        wanted.append(sa.or_(*folded, *given))
    return wanted


def _offers(connection: sa.Connection, product: str) -> sa.ColumnElement[bool]:
    """Return the condition that a candidate offers a product: what the GIN index answers, or SQLite's functions."""
    if connection.dialect.name == "postgresql":
        value: Any = sa.cast(sa.literal(orjson.dumps([product]).decode(), sa.Text), json_text())
        return candidates.c.products.op("@>", is_comparison=True)(value)
    each = sa.func.json_each(candidates.c.products).table_valued("value")
    return sa.exists(sa.select(sa.literal(1)).select_from(each).where(each.c.value == product))
