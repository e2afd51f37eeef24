"""Whose turn it is: which lanes a claim takes runs from, and how many. The same for every backend.

Tenants take turns by start-time fair queueing. A turn begins where the tenant's last one ended, but not before the
newest turn of anybody began: who was idle, or at a limit, has saved nothing up. The earliest turn goes first.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from windlass.engine.types import ClaimedRun, NewRun
from windlass.kernel.lanes import LaneRules, default_of, limits_of, tenant_of
from windlass.kernel.versions import code_of

STRIDE = 1_000_000
"""How long a turn is of a tenant of weight 1; one of weight 2 is half as long."""
TENANTS = 128
"""How many tenants with ready runs one claim looks at."""
LANES = 16
"""How many lanes of a tenant one claim looks at, before and after the one that came last."""
AT_ONCE = 100
"""How many runs of lanes one claim takes."""
FROM_ONE = 32
"""How many of them from one lane."""


class Tenant(NamedTuple):
    """A tenant with ready runs: its last turn (None: it had none), the lane that came last, its free seats."""

    name: str
    weight: int
    turn: int | None
    cursor: str
    free: int


class Lane(NamedTuple):
    """A lane that was looked at: what its first run is, and how many seats its workflow and its key have free.

    ``code`` is that of this run's version. ``place`` counts the lanes looked at on its side of the tenant's cursor: 0
    behind, 1 in front.
    """

    tenant: str
    name: str
    side: int
    place: int
    queue: str
    code: str
    free_workflow: int
    free_key: int


class Open(NamedTuple):
    """What a claimer may take: runs of these codes of the engine, in these queues (None: in all) but the closed."""

    codes: Collection[str]
    queues: Collection[str] | None = None
    closed: Collection[str] = ()

    def admits(self, queue: str, code: str) -> bool:
        """Say whether runs of a queue and code may be taken."""
        if "*" in self.closed or queue in self.closed or code not in self.codes:
            return False
        return self.queues is None or queue in self.queues


@dataclass(slots=True)
class Plan:
    """The lanes of the runs to be taken, in the order of their turns, one entry for each run.

    ``starts`` and ``strides`` are the tenants' first turn and how long each is; ``skipped`` moves the cursors of
    tenants on that got nothing although lanes are left to look at. ``whole``: there is nothing to take beside it.
    """

    lanes: list[str] = field(default_factory=list)
    starts: dict[str, int] = field(default_factory=dict)
    strides: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    whole: bool = True

    @property
    def wanted(self) -> Counter[str]:
        """Return how many runs of each lane are to be taken."""
        return Counter(self.lanes)

    @property
    def tenants(self) -> list[str]:
        """Return the tenants whose rows change, in order."""
        return sorted({*self.starts, *self.skipped})


def choose(tenants: Sequence[Tenant], lanes: Iterable[Lane], newest: int, room: int, door: Open) -> Plan:
    """Return what to take.

    Args:
        tenants: those that may get something.
        lanes: theirs, beginning behind each one's cursor.
        newest: when the newest turn of all began.
        room: how many runs are wanted.
        door: what may be taken.
    """
    plan = Plan()
    free = {tenant.name: tenant.free for tenant in tenants}
    queues: dict[str, deque[str]] = {tenant.name: deque() for tenant in tenants}
    seen: dict[str, Lane] = {}
    for lane in lanes:
        if lane.place >= LANES and (lane.tenant not in seen or seen[lane.tenant].side == lane.side):
            seen[lane.tenant] = lane
        if door.admits(lane.queue, lane.code):
            free |= dict(zip(limits_of(lane.name)[1:], _frees(lane), strict=False))
            queues[lane.tenant].append(lane.name)
    turns = [(_start(tenant, newest), tenant.name) for tenant in tenants]
    heapq.heapify(turns)
    plan.strides = {tenant.name: STRIDE // tenant.weight for tenant in tenants}
    taken: Counter[str] = Counter()
    while turns and len(plan.lanes) < min(room, AT_ONCE):
        start, tenant = turns[0]
        found = _next(queues[tenant], free, taken)
        if found is None:
            heapq.heappop(turns)
            continue
        plan.lanes.append(found)
        plan.starts.setdefault(tenant, start)
        heapq.heapreplace(turns, (start + plan.strides[tenant], tenant))
    plan.skipped = {name: lane.name for name, lane in seen.items() if name not in plan.starts}
    full = len(plan.lanes) >= min(room, AT_ONCE) or any(many >= FROM_ONE for many in taken.values())
    plan.whole = not full and seen.keys() <= plan.skipped.keys()
    return plan


def _start(tenant: Tenant, newest: int) -> int:
    return newest if tenant.turn is None else max(newest, tenant.turn + STRIDE // tenant.weight)


def _frees(lane: Lane) -> tuple[int, ...]:
    """Return free seats in the order of the lane's limits behind the tenant's."""
    return (lane.free_workflow, lane.free_key) if lane.name.split("/")[1] else (lane.free_key,)


def _next(queue: deque[str], free: dict[str, int], taken: Counter[str]) -> str | None:
    """Return the next lane of a tenant that has seats, and take them; lanes without are dropped."""
    while queue:
        lane = queue.popleft()
        names = limits_of(lane)
        if taken[lane] < FROM_ONE and all(free[name] > 0 for name in names):
            queue.append(lane)
            taken[lane] += 1
            for name in names:
                free[name] -= 1
            return lane
    return None


def in_turn(plan: Plan, found: Iterable[ClaimedRun], door: Open, free: Mapping[str, int] | None) -> list[ClaimedRun]:
    """Return the runs that were found in the order of the plan; ``free`` are seats counted since (None: as planned)."""
    ready: dict[str, deque[ClaimedRun]] = {}
    for run in found:
        if door.admits(run.head.queue, code_of(run.head.name, run.interface_version)):
            ready.setdefault(run.head.lane, deque()).append(run)
    left = None if free is None else dict(free)
    runs = []
    for lane in plan.lanes:
        names = limits_of(lane)
        if ready.get(lane) and (left is None or all(left[name] > 0 for name in names)):
            runs.append(ready[lane].popleft())
            if left is not None:
                for name in names:
                    left[name] -= 1
    return runs


def turns(plan: Plan, runs: Iterable[ClaimedRun]) -> list[tuple[str, int | None, str]]:
    """Return tenants with the last turn that they have had by these runs (None: none) and their cursors."""
    rows: dict[str, tuple[int | None, str]] = {name: (None, lane) for name, lane in plan.skipped.items()}
    for run in runs:
        name = tenant_of(run.head.lane)
        last = rows.get(name, (None, ""))[0]
        rows[name] = (plan.starts[name] if last is None else last + plan.strides[name], run.head.lane)
    return [(name, *row) for name, row in rows.items()]


def more(plan: Plan, runs: Sequence[ClaimedRun], cursor: str) -> bool:
    """Say whether to claim again at once: tenants are left to look at, or more may be had than was planned or found."""
    return cursor != "" or (bool(runs) and not (plan.whole and len(runs) == len(plan.lanes)))


class Family(NamedTuple):
    """A tenant of which runs are to be born claimed: its weight, its last turn, the newest turn of all, and whether
    one of its runs is ready.
    """

    name: str
    weight: int
    turn: int | None
    newest: int | None
    waits: bool


def is_due(wake_at: int | None, now: int) -> bool:
    """Say whether a run that sleeps until then has its turn before one that is born now."""
    return wake_at is not None and wake_at <= now


def places(runs: Sequence[NewRun]) -> list[tuple[str, str]]:
    """Return the limits that runs which are to be born claimed share, each with the run."""
    return [(name, run.run_id) for run in runs for name in limits_of(run.lane)]


def fitting(
    runs: Sequence[NewRun],
    families: Iterable[Sequence[Any]],
    taken: Iterable[tuple[str, int | None, int]],
    rules: LaneRules,
) -> tuple[list[NewRun], list[tuple[str, int, str]]]:
    """Return the runs that may be born claimed, and the turns of their tenants that this comes to.

    Args:
        runs: those that are to be.
        families: their tenants, as ``Family``.
        taken: each limit that they share, what somebody has set it to, and how many seats of it are taken.
        rules: limits where nobody has set one.
    """
    lanes = {name: run.lane for run in runs for name in limits_of(run.lane)}
    wanted = Counter(name for name, _ in places(runs))
    full = set()
    for name, most, held in taken:
        if wanted[name] > (default_of(lanes[name], name, rules) if most is None else most) - held:
            full.add(tenant_of(name))
    fit: list[NewRun] = []
    rows = []
    for family in (Family(*row) for row in families):
        if family.waits or family.name in full:
            continue
        ours = [run for run in runs if tenant_of(run.lane) == family.name]
        start = _start(Tenant(family.name, family.weight, family.turn, "", 0), family.newest or 0)
        rows.append((family.name, start + (len(ours) - 1) * (STRIDE // family.weight), ours[-1].lane))
        fit += ours
    return fit, rows


def seats(runs: Iterable[ClaimedRun]) -> list[tuple[str, str]]:
    """Return the limits that runs have a seat of, each with the run."""
    return [(name, run.head.run_id) for run in runs for name in limits_of(run.head.lane)]
