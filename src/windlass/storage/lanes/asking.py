"""Which tenants and lanes have ready runs, asked of the two SQL databases by index.

The cost is by tenants and lanes that are looked at: runs behind a full limit are passed over with one step of the
index, however many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from windlass.kernel.lanes import LaneRules
from windlass.storage.lanes.choosing import LANES, TENANTS, Lane, Open, Plan, Tenant, choose
from windlass.storage.schema import CODE

READY = "holder IS NULL AND ready_at IS NOT NULL AND lane <> ''"
DUE = "ready_at + (priority + claim_rank) * ageing"
"""When a run's turn comes within its lane; of two, the earlier goes first."""


class Dialect(NamedTuple):
    """What differs between the databases: where a text is found in another, rows of a JSON array, and a collation."""

    find: str
    rows: str
    bytewise: str


SQLITE = Dialect("instr", "json_each({0})", "")
POSTGRES = Dialect("strpos", "jsonb_array_elements(CAST({0} AS jsonb)) value", ' COLLATE "C"')


def _tenant(lane: str, d: Dialect) -> str:
    return f"substr({lane}, 1, {d.find}({lane}, '/') - 1)"


def _workflow(lane: str, d: Dialect) -> str:
    rest = f"substr({lane}, {d.find}({lane}, '/') + 1)"
    return f"substr({lane}, 1, {d.find}({lane}, '/') + {d.find}({rest}, '/') - 1)"


def _key(lane: str) -> str:
    return f"rtrim(rtrim({lane}, '0123456789'), '/')"


def _own_limit(lane: str) -> str:
    return f"CAST('0' || substr({lane}, length(rtrim({lane}, '0123456789')) + 1) AS integer)"


def _free(name: str, default: str) -> str:
    """Return how many seats a limit has free."""
    return (
        f"coalesce((SELECT most FROM workflow_concurrency WHERE name = {name}), {default})"
        f" - (SELECT count(*) FROM workflow_seats WHERE name = {name})"
    )


def _first(where: str) -> str:
    return f"(SELECT r.lane FROM workflow_runs r WHERE {READY} AND {where} ORDER BY r.lane LIMIT 1)"


@lru_cache
def tenants_query(d: Dialect, after: str, default: str) -> str:
    """Return the question for tenants with ready runs, from a lane on; its rows are those of ``Tenant``.

    Args:
        d: the database.
        after: the parameter for a lane.
        default: the parameter for the limit of a tenant that has none of its own.
    """
    following = _first(f"r.lane > {_tenant('g.lane', d)} || '0'")
    return f"""WITH RECURSIVE g (lane, place) AS (SELECT {_first(f"r.lane > {after}")}, 1
 UNION ALL SELECT {following}, g.place + 1 FROM g WHERE g.lane IS NOT NULL AND g.place < {TENANTS}),
 t (name) AS (SELECT {_tenant("g.lane", d)} FROM g WHERE g.lane IS NOT NULL)
 SELECT t.name AS a, coalesce(w.weight, 1) AS b, w.turn AS c, coalesce(w.lane, '') AS d,
 {_free("t.name", default)} AS e, (SELECT max(turn) FROM workflow_turns) AS f
 FROM t LEFT JOIN workflow_turns w ON w.tenant = t.name"""


@lru_cache
def lanes_query(d: Dialect, asked: str, default: str) -> str:
    """Return the question for the lanes of tenants, in no order; its rows are those of ``Lane``.

    Args:
        d: the database.
        asked: the parameter for a JSON array of tenants and their cursors.
        default: the parameter for the limit of a workflow that has none of its own.
    """
    tenant, cursor = f"(value->>0){d.bytewise}", f"(value->>1){d.bytewise}"
    full = f"{_free(_workflow('l.lane', d), default)} <= 0"
    passed = f"CASE WHEN l.place > 0 AND {full} THEN {_workflow('l.lane', d)} || '0' ELSE l.lane END"
    following = _first(f"r.lane > {passed} AND r.lane <= l.last")
    first_run = f"""(SELECT r.queue || ' ' || {CODE} FROM workflow_runs r WHERE {READY} AND r.lane = l.lane
 ORDER BY {DUE}, r.run_id LIMIT 1)"""
    key = _key("l.lane")
    return f"""WITH RECURSIVE l (tenant, lane, last, side, place) AS (
 SELECT {tenant}, CASE WHEN {cursor} = '' THEN {tenant} || '/' ELSE {cursor} END, {tenant} || '0', 0, 0
 FROM {d.rows.format(asked)} UNION ALL SELECT {tenant}, {tenant} || '/', {cursor}, 1, 0
 FROM {d.rows.format(asked)} WHERE value->>1 <> ''
 UNION ALL SELECT l.tenant, {following}, l.last, l.side, l.place + 1 FROM l
 WHERE l.lane IS NOT NULL AND l.place < {LANES})
 SELECT l.tenant AS a, l.lane AS b, l.side AS c, l.place AS d, {first_run} AS e,
 {_free(_workflow("l.lane", d), default)} AS f, {_free(key, _own_limit("l.lane"))} AS g
 FROM l WHERE l.lane IS NOT NULL AND l.place > 0"""


def first_of(tenant: str) -> str:
    """Return the question for the first lane in which a run of a tenant is ready: NULL where none is."""
    return _first(f"r.lane > {tenant} || '/' AND r.lane < {tenant} || '0'")


def families_query(d: Dialect, asked: str) -> str:
    """Return the question for tenants of which runs are to be born claimed; its rows are those of ``Family``.

    Args:
        d: the database.
        asked: the parameter for a JSON array of tenants.
    """
    tenant = f"(value->>0){d.bytewise}"
    return f"""SELECT {tenant} AS a, coalesce(w.weight, 1) AS b, w.turn AS c,
 (SELECT max(turn) FROM workflow_turns) AS d, {first_of(tenant)} IS NOT NULL AS e
 FROM {d.rows.format(asked)} LEFT JOIN workflow_turns w ON w.tenant = {tenant}"""


class Found(NamedTuple):
    """What a claim is to take, and from where on the next one is to look for tenants."""

    plan: Plan
    cursor: str


Ask = Callable[[Sequence[Any]], Sequence[Sequence[Any]]]


def plan(tenants: Ask, lanes: Ask, rules: LaneRules, cursor: str, room: int, door: Open) -> Found:
    """Return what to take, after the two questions.

    Args:
        tenants: asks ``tenants_query`` with its two parameters.
        lanes: asks ``lanes_query`` with its two.
        rules: limits where nobody has set one.
        cursor: from where on to look for tenants.
        room: how many runs are wanted.
        door: what may be taken.
    """
    rows = tenants((cursor, rules.tenant))
    following = max(f"{row[0]}/" for row in rows)[:-1] + "0" if len(rows) >= TENANTS else ""
    newest = next((row[5] for row in rows if row[5] is not None), 0)
    waiting = [tenant for tenant in (Tenant(*row[:5]) for row in rows) if tenant.free > 0]
    if not waiting:
        return Found(Plan(), following)
    asked = orjson.dumps([(tenant.name, tenant.cursor) for tenant in waiting]).decode()
    looked_at = [row for row in lanes((asked, rules.workflow)) if row[4] is not None]
    seen = [Lane(*row[:4], *row[4].split(" "), *row[5:]) for row in looked_at]
    seen.sort(key=lambda lane: (lane.side, lane.place))
    return Found(choose(waiting, seen, newest, room, door), following)


def anything(connection: sa.Connection, rules: LaneRules, door: Open) -> bool:
    """Say whether a claim would find runs in lanes, or would have to look further than it looks at once."""
    d = POSTGRES if connection.dialect.name == "postgresql" else SQLITE

    def ask(sql: str, values: Sequence[object]) -> Sequence[Sequence[Any]]:
        return connection.execute(sa.text(sql), {"one": values[0], "two": values[1]}).all()

    found = plan(
        lambda values: ask(tenants_query(d, ":one", ":two"), values),
        lambda values: ask(lanes_query(d, ":one", ":two"), values),
        rules, "", 1, door,
    )  # fmt: skip
    return bool(found.plan.lanes or found.plan.skipped or found.cursor)
