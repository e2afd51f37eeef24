"""Taking ready runs of lanes; one process writes at a time, so nothing changes meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from functools import lru_cache

import orjson

from windlass.engine.types import ClaimedRun, LaneClaim, NewRun
from windlass.kernel.lanes import LaneRules, tenant_of
from windlass.storage import rows as shapes
from windlass.storage.lanes import asking
from windlass.storage.lanes.choosing import AT_ONCE, Open, fitting, in_turn, more, places, seats, turns
from windlass.storage.sqlite import claims

_TENANTS = f"""SELECT json_group_array(json_array(a, b, c, d, e, f)) FROM
 ({asking.tenants_query(asking.SQLITE, "?1", "?2")})"""
_LANES = f"""SELECT json_group_array(json_array(a, b, c, d, e, f, g)) FROM
 ({asking.lanes_query(asking.SQLITE, "?1", "?2")})"""
_FAMILIES = f"""SELECT json_group_array(json_array(a, b, c, d, e)) FROM
 ({asking.families_query(asking.SQLITE, "?1")})"""
_TAKEN = """SELECT json_group_array(json_array(value, (SELECT most FROM workflow_concurrency WHERE name = value),
 (SELECT count(*) FROM workflow_seats WHERE name = value))) FROM json_each(?1)"""
_ANY = f"SELECT (SELECT 1 FROM workflow_runs WHERE {asking.READY} LIMIT 1)"
_COLUMNS = ",".join(shapes.HEAD + shapes.CLAIMED)
_SIT = "INSERT INTO workflow_seats (name, run_id) SELECT value->>0, value->>1 FROM json_each(?)"
_TURN = """INSERT INTO workflow_turns (tenant, turn, lane) SELECT value->>0, value->>1, value->>2 FROM json_each(?)
 WHERE true ON CONFLICT (tenant) DO UPDATE SET turn = coalesce(excluded.turn, turn), lane = excluded.lane"""

_TOGETHER = (1, 8, 32, AT_ONCE)
"""For how many lanes there is a statement each; one asks for nothing in those that are too many."""


@lru_cache
def first_of(many: int) -> str:
    """Return the statement for the first runs of so many lanes: a lane and a number of runs each."""
    each = " UNION ALL ".join(
        f"""SELECT * FROM (SELECT {_COLUMNS} FROM workflow_runs WHERE {asking.READY} AND lane = ?{2 * at + 1}
 ORDER BY {asking.DUE}, run_id LIMIT ?{2 * at + 2})"""
        for at in range(many)
    )
    return f"SELECT json_group_array(json_array({_COLUMNS})) FROM ({each})"


def claim_lanes(
    raw: sqlite3.Connection,
    holder: str,
    codes: Sequence[str],
    queues: Sequence[str] | None,
    limit: int,
    rules: LaneRules,
    cursor: str,
) -> LaneClaim:
    """Take up to ``limit`` runs of lanes for a holder; see ``engine.ports.Transaction.claim_lanes``."""
    if raw.execute(_ANY).fetchone()[0] is None:
        return LaneClaim([], False, "")
    limits = claims.Limits(raw)
    door = Open(codes, queues, limits.closed)
    found = asking.plan(
        lambda values: claims.answer(raw, _TENANTS, values),
        lambda values: claims.answer(raw, _LANES, values),
        rules, cursor, limit, door,
    )  # fmt: skip
    plan = found.plan
    runs = limits.fit(in_turn(plan, _first(raw, plan.wanted), door, None))[: limits.room] if plan.lanes else []
    moved = turns(plan, runs)
    if moved:
        raw.execute(_TURN, (orjson.dumps(moved).decode(),))
    if runs:
        raw.execute(_SIT, (orjson.dumps(seats(runs)).decode(),))
        claims.hold(raw, holder, runs, limits.limited)
    return LaneClaim(runs, more(plan, runs, found.cursor), found.cursor)


def take_seats(raw: sqlite3.Connection, runs: Sequence[NewRun], rules: LaneRules) -> frozenset[str]:
    """Give new runs of lanes their seats; see ``engine.ports.Transaction.take_seats``."""
    tenants = orjson.dumps([(name,) for name in sorted({tenant_of(run.lane) for run in runs})]).decode()
    names = orjson.dumps(sorted({name for name, _ in places(runs)})).decode()
    taken = claims.answer(raw, _TAKEN, (names,))
    fit, moved = fitting(runs, claims.answer(raw, _FAMILIES, (tenants,)), taken, rules)
    if fit:
        raw.execute(_TURN, (orjson.dumps(moved).decode(),))
        raw.execute(_SIT, (orjson.dumps(places(fit)).decode(),))
    return frozenset(run.run_id for run in fit)


def _first(raw: sqlite3.Connection, wanted: Mapping[str, int]) -> list[ClaimedRun]:
    many = next(size for size in _TOGETHER if size >= len(wanted))
    asked = [value for pair in wanted.items() for value in pair] + ["", 0] * (many - len(wanted))
    return [shapes.claimed_run(row) for row in claims.answer(raw, first_of(many), asked)]
