"""Taking ready runs of lanes, under the lock of their tenants: who claims at the same time passes these over.

All limits that a run of a lane shares are within its tenant, so nobody else takes a seat of them meanwhile. What is
free is asked once more under the lock: the first answer may be older.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from windlass.engine.types import LaneClaim, NewRun
from windlass.kernel.lanes import LaneRules, default_of, limits_of, tenant_of
from windlass.storage import rows as shapes
from windlass.storage.lanes import asking
from windlass.storage.lanes.choosing import Open, Plan, fitting, in_turn, is_due, more, places, seats, turns
from windlass.storage.postgres import claims, sql
from windlass.storage.postgres.wire import Reply, Wire

TENANTS = asking.tenants_query(asking.POSTGRES, "$1", "$2::int")
LANES = asking.lanes_query(asking.POSTGRES, "$1", "$2::int")
FAMILIES = asking.families_query(asking.POSTGRES, "$1")
_GIVEN = "FROM jsonb_array_elements($1::jsonb) v"
ADD_TURNS = """INSERT INTO workflow_turns (tenant) SELECT jsonb_array_elements_text($1::jsonb) ON CONFLICT DO NOTHING"""
_TURNS = f"SELECT tenant, turn FROM workflow_turns t WHERE tenant = ANY ({sql.ids('$1')})"
LOCK_TURNS = f"{_TURNS} ORDER BY tenant FOR NO KEY UPDATE SKIP LOCKED"
LOCK_IDLE = f"""{_TURNS} AND {asking.first_of("t.tenant")} IS NULL ORDER BY tenant
 FOR NO KEY UPDATE SKIP LOCKED"""
TAKEN = """SELECT n, (SELECT most FROM workflow_concurrency WHERE name = n),
 (SELECT count(*) FROM workflow_seats WHERE name = n) FROM jsonb_array_elements_text($1::jsonb) n"""
FOUND = f"""SELECT best.* {_GIVEN}, LATERAL (SELECT {sql.RUN} FROM workflow_runs r
 WHERE {asking.READY} AND r.lane = v->>0 ORDER BY {asking.DUE}, run_id LIMIT (v->>1)::int
 FOR NO KEY UPDATE SKIP LOCKED) best"""
SIT = f"INSERT INTO workflow_seats (name, run_id) SELECT v->>0, v->>1 {_GIVEN}"
TURN = f"""UPDATE workflow_turns t SET turn = coalesce((v->>1)::bigint, turn), lane = v->>2 {_GIVEN}
 WHERE t.tenant = v->>0"""


class Beside(NamedTuple):
    """What is asked along with the lanes of a claim: whether other runs are ready, and the next time one will be."""

    others: Reply
    wake: Reply


def claim_lanes(
    holds: claims.Holds,
    holder: str,
    codes: Sequence[str],
    queues: Sequence[str] | None,
    limit: int,
    rules: LaneRules,
    cursor: str,
) -> LaneClaim:
    """Take up to ``limit`` runs of lanes for a holder; see ``engine.ports.Transaction.claim_lanes``."""
    wire = holds.wire
    closed: set[str] = set()
    door = Open(codes, queues, closed)
    holds.write()
    wire.send(sql.SHARE_LIMITS)
    limited = wire.send(sql.LIMITS)
    shut = wire.send(sql.CLOSED)

    def tenants(values: Sequence[Any]) -> Sequence[Sequence[Any]]:
        rows = wire.ask(TENANTS, *values)
        closed.update(row[0] for row in shut.rows)
        return rows

    found = asking.plan(tenants, lambda values: wire.ask(LANES, *values), rules, cursor, limit, door)
    plan = found.plan
    if not plan.tenants:
        return LaneClaim([], found.cursor != "", found.cursor)
    missed = _lock(wire, plan)
    taken = wire.send(TAKEN, orjson.dumps(sorted({name for lane in plan.lanes for name in limits_of(lane)})))
    rows = wire.ask(FOUND, orjson.dumps(list(plan.wanted.items())))
    runs = in_turn(plan, map(shapes.claimed_run, rows), door, _free(plan, taken.rows, rules))
    limits: dict[str, int] = dict(limited.rows)
    if limits and runs:
        runs = claims.seat(wire, runs, limits, [])
    moved = turns(plan, runs)
    if moved:
        wire.send(TURN, orjson.dumps(moved))
    if runs:
        wire.send(SIT, orjson.dumps(seats(runs)))
        holds.take(holder, runs)
    return LaneClaim(runs, missed or more(plan, runs, found.cursor), found.cursor)


class Asked(NamedTuple):
    """What was asked for new runs of lanes: the next run that is due, the tenants we locked, their limits, and they."""

    wake: Reply
    locked: Reply
    taken: Reply
    families: Reply


def ask_seats(wire: Wire, runs: Sequence[NewRun]) -> Asked:
    """Queue the questions for the seats of new runs.

    Tenants of which something waits are not locked: who claims would have to come back.
    """
    tenants = sorted({tenant_of(run.lane) for run in runs})
    wake = wire.send(sql.NEXT_WAKE)
    wire.send(ADD_TURNS, orjson.dumps(tenants))
    locked = wire.send(LOCK_IDLE, orjson.dumps(tenants))
    taken = wire.send(TAKEN, orjson.dumps(sorted({name for name, _ in places(runs)})))
    return Asked(wake, locked, taken, wire.send(FAMILIES, orjson.dumps([(name,) for name in tenants])))


def take_seats(wire: Wire, runs: Sequence[NewRun], rules: LaneRules, now: int, asked: Asked) -> frozenset[str]:
    """Give new runs of lanes their seats; see ``engine.ports.Transaction.take_seats``.

    ``asked`` has the answers for them, and maybe for others.
    """
    wake = asked.wake.rows
    if wake and is_due(wake[0][0], now):
        return frozenset()
    ours = {tenant_of(run.lane) for run in runs}.intersection(row[0] for row in asked.locked.rows)
    names = {name for name, _ in places(runs)}
    families = [row for row in asked.families.rows if row[0] in ours]
    fit, moved = fitting(runs, families, [row for row in asked.taken.rows if row[0] in names], rules)
    if fit:
        wire.send(TURN, orjson.dumps(moved))
        wire.send(SIT, orjson.dumps(places(fit)))
    return frozenset(run.run_id for run in fit)


def _lock(wire: Wire, plan: Plan) -> bool:
    """Lock the tenants of a plan and take those out of it whom others have locked; says whether there were any."""
    wanted = orjson.dumps(plan.tenants)
    wire.send(ADD_TURNS, wanted)
    locked = dict(wire.ask(LOCK_TURNS, wanted))
    missed = [name for name in plan.tenants if name not in locked]
    for name in missed:
        plan.starts.pop(name, None)
        plan.skipped.pop(name, None)
    plan.lanes = [lane for lane in plan.lanes if tenant_of(lane) in locked]
    for name, start in plan.starts.items():
        if locked[name] is not None:
            plan.starts[name] = max(start, locked[name] + plan.strides[name])
    return bool(missed)


def _free(plan: Plan, taken: Sequence[Sequence[Any]], rules: LaneRules) -> dict[str, int]:
    """Return how many seats each limit has free."""
    known = {name: (most, held) for name, most, held in taken}
    free = {}
    for lane in plan.wanted:
        for name in limits_of(lane):
            most, held = known[name]
            free[name] = (default_of(lane, name, rules) if most is None else most) - held
    return free
