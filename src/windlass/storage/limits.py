"""Limits that runs in lanes share and weights of tenants, as operators see and change them.

A limit is named after what shares it: ``tenant:acme``, ``workflow:acme:17``, ``key:acme:17:red``; each part is
percent-encoded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote, unquote

import sqlalchemy as sa

from windlass.engine.engine import Engine
from windlass.engine.ports import Ring, Transaction
from windlass.kernel.checks import check_limit, check_number
from windlass.kernel.errors import Invalid
from windlass.kernel.lanes import LaneRules, default_of
from windlass.storage.schema import workflow_concurrency, workflow_runs, workflow_seats, workflow_turns

KINDS = ("tenant", "workflow", "key")
HEAVIEST = 1000
MOST_LISTED = 1000
LONGEST_NAME = 2048


class LimitView(NamedTuple):
    """A limit in force: how many runs may be held at once (None: none is known), whether somebody has ``set`` it, how
    many are held, and of a tenant how many turns it gets for one of a tenant of weight 1.
    """

    name: str
    limit: int | None
    set: bool
    running: int
    weight: int | None


Told = Callable[[Transaction, LimitView, LimitView], None]
"""Hears of a change, with what was before and is after."""


def stored(name: str) -> str:
    """Return a limit's name as lanes have it.

    Raises:
        Invalid: it is none.
    """
    kind, *parts = name.split(":")
    fits = kind in KINDS and len(parts) == KINDS.index(kind) + 1 and len(name) <= LONGEST_NAME
    if not fits or not all(quote(unquote(part), "") == part for part in parts):
        message = "a limit is tenant:TENANT, workflow:TENANT:ID or key:TENANT:ID:KEY, each part percent-encoded"
        raise Invalid(f"{message}, not {name[:200]!r}", field="name")
    if not parts[0] or not parts[-1]:
        raise Invalid(f"{name[:200]!r} names nothing", field="name")
    return "/".join(parts)


def shown(name: str) -> str:
    """Return the name of a limit as operators say it."""
    return ":".join((KINDS[name.count("/")], *name.split("/")))


def limits(connection: sa.Connection, rules: LaneRules, tenant: str | None = None) -> list[LimitView]:
    """Return the limits that somebody has set or that are in use, and the tenants with a weight, by name.

    Args:
        connection: where to ask.
        rules: the limits where nobody has set one.
        tenant: only this tenant's.
    """
    within = None if tenant is None else quote(tenant, "")

    def mine(column: sa.Column[str]) -> sa.ColumnElement[bool]:
        if within is None:
            return sa.true()
        return sa.or_(column == within, sa.and_(column > f"{within}/", column < f"{within}0"))

    own, seat, turn = workflow_concurrency.c, workflow_seats.c, workflow_turns.c
    names = sa.union(
        sa.select(own.name).where(mine(own.name)),
        sa.select(seat.name).where(mine(seat.name)),
        sa.select(turn.tenant).where(mine(turn.tenant), turn.weight != 1),
    ).subquery()
    found = connection.execute(sa.select(names.c.name).order_by(names.c.name).limit(MOST_LISTED)).scalars()
    return [limit(connection, name, rules) for name in found]


def limit(connection: sa.Connection, name: str, rules: LaneRules) -> LimitView:
    """Return one limit, by its name as lanes have it."""
    own, seat, turn = workflow_concurrency.c, workflow_seats.c, workflow_turns.c
    most = connection.execute(sa.select(own.most).where(own.name == name)).scalar()
    held = sa.select(sa.func.count(), sa.func.min(workflow_runs.c.lane)).select_from(
        workflow_seats.outerjoin(workflow_runs, workflow_runs.c.run_id == seat.run_id)
    )
    running, lane = connection.execute(held.where(seat.name == name)).one()
    weight = None
    if "/" not in name:
        weight = connection.execute(sa.select(turn.weight).where(turn.tenant == name)).scalar() or 1
    if most is not None:
        return LimitView(shown(name), most, True, running, weight)
    known = lane or f"{name}///" if name.count("/") < len(KINDS) - 1 else lane
    default = None if known is None else default_of(known, name, rules)
    return LimitView(shown(name), default, False, running, weight)


async def change_limit(
    engine: Engine, name: str, told: Told, *, most: int | None = None, weight: int | None = None, clear: bool = False
) -> LimitView:
    """Change a limit at once, over all processes, and return it as it is then; runs that wait for it start now.

    Args:
        engine: whose database.
        name: as operators say it.
        told: hears of the change in its transaction.
        most: how many runs may be held at once; None leaves it.
        weight: of a tenant: its turns for one of weight 1; None leaves it.
        clear: go back to the settings' limit and to weight 1 first.

    Raises:
        Invalid: the name is none, or a number is out of its range.
    """
    place = stored(name)
    check_limit(most)
    if weight is not None:
        if "/" in place:
            raise Invalid("only a tenant has a weight", field="weight")
        check_number("weight", weight, 1, HEAVIEST, whole=True)

    def change(tx: Transaction) -> LimitView:
        before = limit(tx.connection, place, engine.lanes)
        if clear or most is not None:
            tx.set_limit(place, most)
        if weight is not None or (clear and "/" not in place):
            tx.set_weight(place, weight or 1)
        after = limit(tx.connection, place, engine.lanes)
        told(tx, before, after)
        tx.rings.append(Ring("ready", ""))
        return after

    return await engine.transact(change)
