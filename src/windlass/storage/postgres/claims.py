"""Taking ready runs: best first, past what others have locked, no more than the queues' slots allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import orjson

from windlass.engine.types import RESUMED, ClaimedRun, RunHead
from windlass.storage import rows as shapes
from windlass.storage.postgres import sql
from windlass.storage.postgres.wire import Wire

OVERALL = "*"


class Holds:
    """Claims that are not written yet: whoever claims mostly writes all of a run's head next, and that once.

    They must be in the table before anybody asks for ready runs again, or for anything that they might change.
    """

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._holders: dict[str, str] = {}

    def take(self, holder: str, runs: Sequence[ClaimedRun]) -> None:
        """Give runs to a holder."""
        for run in runs:
            run.head.holder, run.head.ready_at, run.head.claim_rank = holder, None, RESUMED
            self._holders[run.head.run_id] = holder

    def written(self, heads: Iterable[RunHead]) -> None:
        """Forget claims of runs whose heads are being written."""
        if self._holders:
            for head in heads:
                self._holders.pop(head.run_id, None)

    def forget(self) -> None:
        """Take back what is not written: everything since the savepoint that has failed."""
        self._holders.clear()

    def write(self) -> None:
        """Have all that are left written."""
        held: dict[str, list[str]] = {}
        for run_id, holder in self._holders.items():
            held.setdefault(holder, []).append(run_id)
        self._holders.clear()
        for holder, ids in held.items():
            self.wire.send(sql.HOLD, holder, orjson.dumps(ids))


def claim(
    holds: Holds, holder: str, codes: Sequence[str], queues: Sequence[str] | None, limit: int
) -> list[ClaimedRun]:
    """Take up to ``limit`` runs for a holder; see ``engine.ports.Transaction.claim_ready``.

    A slot counts only once it is locked: another claimer's are passed over, and looked for again by its next claim.
    """
    wire = holds.wire
    taken: list[ClaimedRun] = []
    full: list[str] = []
    wire.send(sql.SHARE_LIMITS)
    reply = wire.send(sql.LIMITS)
    while len(taken) < limit:
        holds.write()
        found = _ready(wire, codes, queues, full, limit - len(taken))
        limits: dict[str, int] = dict(reply.rows)
        chosen = seat(wire, found, limits, full) if limits else found
        if chosen:
            holds.take(holder, chosen)
            taken.extend(chosen)
        if len(chosen) == len(found) or OVERALL in full:
            break
    return taken


def _ready(
    wire: Wire, codes: Sequence[str], queues: Sequence[str] | None, full: Sequence[str], limit: int
) -> list[ClaimedRun]:
    wire.send(sql.SORTS, "off")
    reply = wire.send(
        sql.READY, orjson.dumps(codes), None if queues is None else orjson.dumps(queues), orjson.dumps(full), limit
    )
    wire.send(sql.SORTS, "on")
    wire.settle()
    return [shapes.claimed_run(row) for row in reply.rows]


def seat(wire: Wire, found: Sequence[ClaimedRun], limits: dict[str, int], full: list[str]) -> list[ClaimedRun]:
    """Give each run a slot of its queue and one of all queues; returns those that got both.

    A queue without slots for everyone goes into ``full``.
    """
    wanted = Counter(run.head.queue for run in found if run.head.queue in limits)
    if OVERALL in limits:
        wanted[OVERALL] = len(found)
    free, seats = _free_slots(wire, wanted, limits)
    full.extend(queue for queue, many in wanted.items() if len(free[queue]) < many)
    chosen: list[ClaimedRun] = []
    for run in found:
        needed = [queue for queue in (OVERALL, run.head.queue) if queue in free]
        if all(free[queue] for queue in needed):
            seats.extend((queue, free[queue].pop(), run.head.run_id) for queue in needed)
            chosen.append(run)
    if seats:
        wire.send(sql.TAKE_SLOTS, orjson.dumps(seats))
    return chosen


def _free_slots(
    wire: Wire, wanted: Counter[str], limits: dict[str, int]
) -> tuple[dict[str, list[int]], list[tuple[str, int, str]]]:
    """Lock free slots, as many as are wanted where there are so many; returns them by queue, and seats already given.

    Those that sit beyond a lowered limit get theirs first: nobody enters before they have moved up or left.
    """
    asked = orjson.dumps([{"queue": queue, "wanted": many, "most": limits[queue]} for queue, many in wanted.items()])
    beyond = wire.send(sql.EXCESS, asked)
    free: dict[str, list[int]] = {queue: [] for queue in wanted}
    for queue, slot in wire.ask(sql.LOCK_SLOTS, asked):
        free[queue].append(slot)
    seats: list[tuple[str, int, str]] = []
    left = []
    for queue, slot, run_id in beyond.rows:
        if free[queue]:
            seats.append((queue, free[queue].pop(), run_id))
            left.append((queue, slot))
    if left:
        wire.send(sql.DROP_SLOTS, orjson.dumps(left))
    return free, seats
