"""Operations with a word about each: what was done is told in the transaction that did it, to an audit log say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import NamedTuple

from windlass.engine.control import CONTROL
from windlass.engine.journal import StartRuns
from windlass.engine.ops import Operation
from windlass.engine.ports import Transaction
from windlass.engine.types import ControlRequest, ControlResult, Started, StartRequest

TellStart = Callable[[Transaction, Started], None]
TellControl = Callable[[Transaction, str, ControlResult], None]
"""Hears the status that the run had before, and what was done."""


class ToldStart(NamedTuple):
    """A start, and who hears of it; a repeated idempotency key is told, too."""

    request: StartRequest
    tell: TellStart


class ToldStarts(Operation[ToldStart, Started]):
    """A kind of start with a word about each."""

    def __init__(self, kind: StartRuns) -> None:
        self.rank = kind.rank
        self._kind = kind

    def locks(self, unit: ToldStart) -> Iterable[str]:
        """As without a word."""
        return self._kind.locks(unit.request)

    def weight(self, unit: ToldStart) -> int:
        """As without a word."""
        return self._kind.weight(unit.request)

    def apply(self, tx: Transaction, units: Sequence[ToldStart]) -> Sequence[Started | Exception]:
        """Start all of them together, then tell of each that was not refused."""
        answers = self._kind.apply(tx, [unit.request for unit in units])
        for unit, answer in zip(units, answers, strict=True):
            if isinstance(answer, Started):
                unit.tell(tx, answer)
        return answers


class ToldControl(NamedTuple):
    """A control call, and who hears of it."""

    request: ControlRequest
    tell: TellControl


class ToldControls(Operation[ToldControl, ControlResult]):
    """See ``Controls``."""

    rank = CONTROL.rank

    def locks(self, unit: ToldControl) -> Iterable[str]:
        """As without a word."""
        return CONTROL.locks(unit.request)

    def apply(self, tx: Transaction, units: Sequence[ToldControl]) -> list[ControlResult | Exception]:
        """Apply one after the other, and tell of each that was not refused."""
        answers = []
        for unit in units:
            head = tx.heads.get(unit.request.run_id)
            before = "" if head is None else str(head.status)
            [answer] = CONTROL.apply(tx, [unit.request])
            if isinstance(answer, ControlResult):
                unit.tell(tx, before, answer)
            answers.append(answer)
        return answers


@cache
def told(kind: StartRuns) -> ToldStarts:
    """Return a kind of start with a word about each: one for each kind, so that what waits together is written so."""
    return ToldStarts(kind)


CONTROL_TOLD = ToldControls()
