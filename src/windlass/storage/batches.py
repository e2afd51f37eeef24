"""One transaction out of many units: applied together, or one by one when one of them fails. Promises 2 and 3."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future as ThreadFuture
from dataclasses import dataclass
from typing import Any, TypeVar

from windlass.engine.errors import TransactionLost, UnknownCommit, WriteFailed
from windlass.engine.ops import Operation
from windlass.engine.ports import Ring, WriteSession
from windlass.engine.types import Event

R = TypeVar("R")
Outcome = tuple[Any, BaseException | None]

RECONNECT_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)


class ConnectionLost(Exception):
    """The database went away before the commit: nothing of the transaction is on disk."""


class OutcomeUnknown(WriteFailed):
    """A commit may have happened or not, and the database could not be asked: it must not be tried again."""


class Promise(asyncio.Future[R]):
    """The answer to a unit that is on its way: nobody can be spared it."""

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ARG002  as futures have it
        """Refuse: a task that waits is cancelled once the answer is there."""
        return False


@dataclass(slots=True, eq=False)
class Pending:
    """A unit, what kind it is, who waits for it; whether an event loop may write it itself, and if it was put off."""

    op: Operation[Any, Any]
    unit: Any
    future: asyncio.Future[Any] | ThreadFuture[Any]
    loop: asyncio.AbstractEventLoop | None
    bounded: bool
    quick: bool = False
    put_off: bool = False


class BatchWriter:
    """Turns units into transactions on one session; knows nothing of threads or futures.

    Args:
        session: the connection that writes.
        pause: waits some seconds and says whether to give up.
    """

    def __init__(self, session: WriteSession, pause: Callable[[float], bool] = lambda _seconds: False) -> None:
        self._session = session
        self._pause = pause
        self._marker = 0

    def write(self, batch: Sequence[Pending]) -> tuple[list[Outcome], list[Ring], list[Event]]:
        """Apply a batch in one transaction; on any error its units run one by one, so that each fails alone.

        Returns:
            the outcome of every unit, in order, and the doorbells and the events of what was committed. A unit
            whose outcome is ``ConnectionLost`` is not on disk and may be tried again.
        """
        try:
            return self._together(batch)
        except (ConnectionLost, OutcomeUnknown) as lost:
            return [(None, lost)] * len(batch), [], []
        except Exception as error:
            if len(batch) == 1:
                return [(None, _cause(error))], [], []
        outcomes: list[Outcome] = []
        rings: list[Ring] = []
        written: list[Event] = []
        for pending in batch:
            try:
                answered, rung, events = self._together([pending])
            except Exception as error:
                answered, rung, events = [(None, _cause(error))], [], []
            outcomes.extend(answered)
            rings.extend(rung)
            written.extend(events)
        return outcomes, rings, written

    def _together(self, batch: Sequence[Pending]) -> tuple[list[Outcome], list[Ring], list[Event]]:
        self._marker += 1
        session = self._session
        try:
            tx = session.begin(self._marker)
            locks = {run_id for p in batch for run_id in p.op.locks(p.unit)}
            if locks:
                tx.lock_runs(sorted(locks))
            outcomes: list[Outcome] = [(None, None)] * len(batch)
            for op, places in _by_kind(batch):
                answers = op.apply(tx, [batch[place].unit for place in places])
                for place, answer in zip(places, answers, strict=True):
                    outcomes[place] = (None, answer) if isinstance(answer, Exception) else (answer, None)
            tx.write_last()
            rings, written = tx.rings, tx.written
        except BaseException as error:
            session.rollback()
            if session.away(error):
                raise ConnectionLost(str(error)) from error
            raise
        try:
            session.commit()
        except UnknownCommit:
            if not self._settle():
                raise ConnectionLost("the commit did not reach the disk") from None
        return outcomes, rings, written

    def _settle(self) -> bool:
        """Say whether the last commit is on disk; asks until the database answers, for only it knows."""
        tries = 0
        while True:
            try:
                return self._session.committed(self._marker)
            except Exception as error:
                if self._pause(RECONNECT_PAUSES[min(tries, len(RECONNECT_PAUSES) - 1)]):
                    raise OutcomeUnknown("closed before the database said whether a commit had happened") from error
                tries += 1


def _cause(error: Exception) -> BaseException:
    """Return what the unit itself did wrong: a lost transaction names it as its cause."""
    return error.__cause__ or error if isinstance(error, TransactionLost) else error


def _by_kind(batch: Sequence[Pending]) -> Iterable[tuple[Operation[Any, Any], list[int]]]:
    kinds: dict[Operation[Any, Any], list[int]] = {}
    for place, pending in enumerate(batch):
        places = kinds.get(pending.op)
        if places is None:
            kinds[pending.op] = [place]
        else:
            places.append(place)
    if len(kinds) == 1:
        return kinds.items()
    return sorted(kinds.items(), key=lambda kind: kind[0].rank)
