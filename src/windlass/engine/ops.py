"""Operations: what a caller hands to the committer. Many of one kind are applied together, set by set."""

from __future__ import annotations

from asyncio import CancelledError, Future
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from windlass.engine.errors import TransactionLost
from windlass.engine.failures import code_error
from windlass.engine.ports import Transaction

A = TypeVar("A")
R = TypeVar("R")


class Operation(Generic[A, R]):
    """A kind of unit of work.

    ``rank`` orders the kinds inside one batch; ``locks`` names the runs a unit will change, so that the batch can lock
    all of its runs at once in id order. ``patient`` kinds are left to the next batch where a run begins with this one.
    """

    rank = 50
    patient = False

    def locks(self, unit: A) -> Iterable[str]:  # noqa: ARG002  for kinds that touch runs
        """Return the ids of existing runs that the unit touches."""
        return ()

    def begins(self, unit: A) -> bool:  # noqa: ARG002  for kinds that start runs
        """Whether a run that somebody has asked for begins as soon as the unit is on disk."""
        return False

    def quick(self, unit: A) -> bool:  # noqa: ARG002  for kinds that differ
        """Whether the unit is known to be quick, so that an event loop may write it itself."""
        return True

    def weight(self, unit: A) -> int:  # noqa: ARG002  for kinds that carry what callers made
        """About how many bytes of JSON the unit writes; next to nothing is 0."""
        return 0

    def apply(self, tx: Transaction, units: Sequence[A]) -> Sequence[R | Exception]:
        """Apply units and return an answer for each, in order.

        An exception *returned* refuses that unit alone and must have left no trace; an exception *raised*
        rolls the batch back, and its units run one by one.
        """
        raise NotImplementedError


class Call(Operation[Callable[[Transaction], Any], Any]):
    """A unit that is a function of the transaction; it gets a savepoint, so that it fails alone."""

    rank = 20

    def quick(self, unit: Callable[[Transaction], Any]) -> bool:  # noqa: ARG002  whatever it is
        """Nobody knows how long it takes."""
        return False

    def apply(self, tx: Transaction, units: Sequence[Callable[[Transaction], Any]]) -> list[Any]:
        """Call each function inside its own savepoint."""
        answers: list[Any] = []
        for fn in units:
            try:
                with tx.savepoint():
                    value = fn(tx)
            except TransactionLost:
                raise
            except BaseException as error:
                answers.append(code_error(error))
            else:
                answers.append(value)
        return answers


CALL = Call()


async def heard(answer: Future[R]) -> R:
    """Wait for an answer; a task that is cancelled meanwhile hears a refusal first, for it counts for more."""
    try:
        return await answer
    except CancelledError:
        answer.result()
        raise


class Commits(Protocol):
    """The committer as the engine sees it."""

    def submit(self, op: Operation[A, R], unit: A, *, bounded: bool = False) -> Future[R]:
        """Queue a unit; the future answers once its transaction is on disk.

        It cannot be cancelled, for the unit is on its way: a task that is cancelled while it waits is so once the
        answer is there, and may then look at the answer.

        Args:
            op: its kind.
            unit: what to do.
            bounded: refuse with ``Overloaded`` when too much is waiting (for work that comes from outside).
        """
        ...
