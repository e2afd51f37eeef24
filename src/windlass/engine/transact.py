"""Transactional steps: user code inside the transaction that writes its journal row. Promise 8."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from windlass.engine.errors import Fenced, TransactionLost
from windlass.engine.failures import code_error
from windlass.engine.heads import number
from windlass.engine.ops import Operation
from windlass.engine.ports import Transaction
from windlass.engine.types import Event, NewEvent, RunHead


@dataclass(slots=True)
class Effect:
    """A transactional step of a held run.

    ``call`` runs the user's code and returns its value and JSON text, ``events`` makes the journal rows from
    that text, ``seconds`` is how long the code may take, ``quick`` says that it took next to no time before.
    """

    run_id: str
    holder: str
    call: Callable[[Transaction], tuple[Any, str]]
    events: Callable[[str], list[NewEvent]]
    seconds: float
    quick: bool


class Effects(Operation[Effect, Any]):
    """Runs each in a savepoint of its own: one that fails leaves nothing, its neighbours commit."""

    rank = 15
    seconds = 5.0
    """How long user code may use a writer that others wait for, where a step says nothing else.

    In a transaction of its own that goes for each statement.
    """

    def locks(self, unit: Effect) -> Iterable[str]:
        """Lock the run."""
        return (unit.run_id,)

    def quick(self, unit: Effect) -> bool:
        """As the step says."""
        return unit.quick

    def apply(self, tx: Transaction, units: Sequence[Effect]) -> list[Any]:
        """Run and journal the effects whose fence holds."""
        answers: list[Any] = []
        events: list[Event] = []
        touched: dict[str, RunHead] = {}
        for unit in units:
            head = tx.heads.get(unit.run_id)
            if head is None or head.holder != unit.holder or not tx.lease_is_live(unit.holder):
                answers.append(Fenced(unit.run_id))
                continue
            try:
                with tx.savepoint(unit.seconds):
                    value, text = unit.call(tx)
            except TransactionLost:
                raise
            except BaseException as error:
                answers.append(code_error(error))
                continue
            events.extend(number(head, unit.events(text)))
            head.deaths = 0
            touched[unit.run_id] = head
            answers.append(value)
        if events:
            tx.append_events(events)
            tx.bump_runs(list(touched.values()))
        return answers


class LoneEffects(Effects):
    """Runs each in a transaction of its own: the run is locked after the user's code, not while it works.

    A signal, a cancellation or another branch of the run would wait for a slow step otherwise, and with them the
    whole batch that they are in. A run that is no longer ours by then takes the step's effects back.
    """

    seconds = 60.0

    def locks(self, unit: Effect) -> Iterable[str]:  # noqa: ARG002  nothing yet
        """Lock nothing beforehand."""
        return ()

    def apply(self, tx: Transaction, units: Sequence[Effect]) -> list[Any]:
        """Run the effects, then fence and journal each; one that is not ours any more fails the transaction."""
        return [self._one(tx, unit) for unit in units]

    @staticmethod
    def _one(tx: Transaction, unit: Effect) -> Any:
        try:
            with tx.savepoint(unit.seconds):
                value, text = unit.call(tx)
        except TransactionLost:
            raise
        except BaseException as error:
            return code_error(error)
        tx.code_done(unit.holder)
        head = tx.lock_runs([unit.run_id]).get(unit.run_id)
        if head is None or head.holder != unit.holder or not tx.lease_is_live(unit.holder):
            raise Fenced(unit.run_id)
        tx.append_events(number(head, unit.events(text)))
        head.deaths = 0
        tx.bump_runs([head])
        return value


TRANSACT = Effects()
TRANSACT_ALONE = LoneEffects()
