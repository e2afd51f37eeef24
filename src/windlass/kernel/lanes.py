"""Lanes: groups of runs that share limits, and what one process believes of limits that nobody has set.

A lane is ``tenant/workflow/key/limit``, each part percent-encoded, so that the lanes of a tenant, of a workflow and of
a key each lie together in an index. Without a lane a run shares nothing but its queue. The runs of a lane are of one
queue and of one workflow of the engine: the first of them stands for all.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from windlass.kernel.clock import SECOND

STRICT_AGEING = 100 * 366 * 86_400 * SECOND
"""Microseconds that a step of priority is worth where waiting must not make up for it."""
_FARTHEST = 1 << 62


class LaneRules(NamedTuple):
    """Limits in force where nobody has set one, and how many microseconds of waiting make up for a step of priority."""

    tenant: int = 2
    workflow: int = 1
    ageing: int = 60 * SECOND


@lru_cache(4096)
def lane_of(tenant: str, workflow: str = "", key: str = "", limit: int = 0) -> str:
    """Return the lane of a run.

    Args:
        tenant: whose run it is.
        workflow: the workflow that its limit is for; empty for none.
        key: what else shares a limit, within the workflow; empty for nothing.
        limit: how many runs of the key may be held at once, where nobody has set another number.
    """
    return "/".join((quote(tenant, ""), quote(workflow, ""), quote(key, ""), str(limit) if key else ""))


def tenant_of(lane: str) -> str:
    """Return the name of the tenant's limit: a prefix of the lane."""
    return lane.partition("/")[0]


def limits_of(lane: str) -> tuple[str, ...]:
    """Return the names of the limits that the runs of a lane share: the tenant's, the workflow's, the key's."""
    tenant, workflow, key, _ = lane.split("/")
    names = [tenant]
    if workflow:
        names.append(f"{tenant}/{workflow}")
    if key:
        names.append(f"{tenant}/{workflow}/{key}")
    return tuple(names)


def default_of(lane: str, name: str, rules: LaneRules) -> int:
    """Return the limit of one of a lane's names where nobody has set one."""
    depth = name.count("/")
    return int(lane.rpartition("/")[2]) if depth == 2 else (rules.tenant, rules.workflow)[depth]


def ageing_of(priority: int, ageing: int) -> int:
    """Return what a step of a run's priority is worth in microseconds, so that a row can hold the product."""
    return min(ageing, _FARTHEST // (abs(priority) + 2))
