"""Runs that are counted in the transaction that inserts them: both happen, or neither."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from windlass.contexts.limits import counting
from windlass.contexts.limits.depth import Depth
from windlass.contexts.limits.model import QUOTAS, Limit, LimitExceeded, Options, Subject, window
from windlass.engine.journal import StartRuns, scope
from windlass.engine.ops import Operation
from windlass.engine.ports import Transaction
from windlass.engine.types import StartRequest

_FREE_KEY = "DELETE FROM workflow_idempotency WHERE scope = :scope AND key = :key AND run_id = :run_id"


class StartCounted(StartRuns):
    """Starts runs of definitions as far as quotas and the depth of the queue allow.

    A repeated start is answered with its run before anything is counted.
    """

    def __init__(self, options: Options, depth: Depth) -> None:
        self._options = options
        self._depth = depth

    def refuse(self, tx: Transaction, fresh: Sequence[StartRequest]) -> Mapping[str, Exception]:
        """Return the runs that are over a limit; callers are looked at in one order, so that none wait in a circle."""
        refused: dict[str, Exception] = {}
        left: dict[Subject, list[StartRequest]] = defaultdict(list)
        added: dict[str, int] = defaultdict(int)
        for unit in fresh:
            tenant_id = unit.run.tenant_id
            full = self._depth.full(tenant_id, added[tenant_id])
            if full is not None:
                refused[unit.run.run_id] = full
            else:
                left[Subject(tenant_id, unit.run.owner or "")].append(unit)
                added[tenant_id] += unit.run.holder is None or unit.run.lane != ""  # it may get no seat
        if self._options.quotas:
            for subject in sorted(left):
                refused |= self._charge(tx, subject, left[subject])
        for unit in fresh:
            if unit.run.run_id in refused and unit.idempotency_key is not None:
                row = {"scope": scope(unit), "key": unit.idempotency_key, "run_id": unit.run.run_id}
                tx.execute(_FREE_KEY, row)
        return refused

    def _charge(self, tx: Transaction, subject: Subject, units: list[StartRequest]) -> dict[str, Exception]:
        values = counting.values_for(tx, subject, self._options.values)
        refused: dict[str, Exception] = {}
        for wanted in _by_minute(units):
            now = wanted[0].run.created_at
            taken: list[tuple[Limit, int]] = []
            left = len(wanted)
            for limit in QUOTAS:
                allowed = values[limit]
                granted = counting.take(tx, subject, limit, left, allowed, now)
                for unit in wanted[granted:left]:
                    refused[unit.run.run_id] = LimitExceeded(limit, allowed or 0, now)
                taken.append((limit, granted))
                left = granted
            for limit, granted in taken:
                counting.give_back(tx, subject, limit, granted - left, now)
        return refused


def _by_minute(units: list[StartRequest]) -> Iterator[list[StartRequest]]:
    """Yield runs that count in the same windows together, the oldest first."""
    minutes: dict[int, list[StartRequest]] = defaultdict(list)
    for unit in units:
        minutes[window(Limit.BURST, unit.run.created_at)].append(unit)
    for minute in sorted(minutes):
        yield minutes[minute]


class Knock(NamedTuple):
    """A request of somebody, the rate that limits it, and its time (microseconds)."""

    subject: Subject
    limit: Limit
    now: int


class CountRequests(Operation[Knock, None]):
    """Counts requests, as far as rates allow."""

    rank = 25

    def __init__(self, options: Options) -> None:
        self._options = options

    def apply(self, tx: Transaction, units: Sequence[Knock]) -> Sequence[Exception | None]:
        """Count requests, those of one caller after the other's, so that no two processes wait in a circle."""
        answers: list[Exception | None] = [None] * len(units)
        for place in sorted(range(len(units)), key=lambda place: units[place]):
            subject, limit, now = units[place]
            allowed = counting.values_for(tx, subject, self._options.values)[limit]
            if not counting.take(tx, subject, limit, 1, allowed, now):
                answers[place] = LimitExceeded(limit, allowed or 0, now)
        return answers
