"""Children that are left when a run ends with more of them than one transaction can cancel. Promise 9.

What is to be done is in the runs' rows: an open run whose parent has ended. So nothing is lost with the process that
was at it: every process looks for such runs now and then, and after each takeover.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from windlass.engine.ending import CANCEL_AT_ONCE, cancel_children
from windlass.engine.ops import Commits, Operation
from windlass.engine.ports import Transaction
from windlass.engine.types import TERMINAL
from windlass.kernel.clock import Clock


class OrphanRequest(NamedTuple):
    """Cancel children of runs that have ended."""

    ended: tuple[str, ...]
    at: int


class Orphans(Operation[OrphanRequest, list[str]]):
    """Cancels a bounded number; answers with the ended runs that may still have open children."""

    rank = 70

    def locks(self, unit: OrphanRequest) -> Iterable[str]:
        """Lock the ended runs: one that is retried meanwhile keeps its children."""
        return unit.ended

    def apply(self, tx: Transaction, units: Sequence[OrphanRequest]) -> list[list[str]]:
        """Cancel for each request in turn."""
        return [self._cancel(tx, unit) for unit in units]

    @staticmethod
    def _cancel(tx: Transaction, unit: OrphanRequest) -> list[str]:
        heads = [tx.heads.get(run_id) for run_id in unit.ended]
        return cancel_children(tx, [head.run_id for head in heads if head and head.status in TERMINAL], unit.at)


ORPHANS = Orphans()


class Guardian:
    """Sees to the orphans that one process knows of, one transaction after the other."""

    def __init__(self, commits: Commits, clock: Clock) -> None:
        self._commits = commits
        self._clock = clock
        self._ended: dict[str, None] = {}
        self._busy = False

    async def care(self, ended: Iterable[str]) -> None:
        """Cancel the children of these runs; who is at it already takes them on."""
        self._ended.update(dict.fromkeys(ended))
        if self._busy:
            return
        self._busy = True
        try:
            while self._ended:
                some = tuple(self._ended)[:CANCEL_AT_ONCE]
                rest = await self._commits.submit(ORPHANS, OrphanRequest(some, self._clock.now()))
                for run_id in some:
                    del self._ended[run_id]
                self._ended.update(dict.fromkeys(rest))
        finally:
            self._ended.clear()
            self._busy = False
