"""Sagas: undoing what a run had done when it fails. Promises 8 and 9.

What there is to undo is read from the journal, for a replay need not come to every step that had succeeded: branches
beside the one that failed are stopped earlier. The list is recorded, and so it is the same after every crash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from windlass.engine.api import recorded
from windlass.engine.errors import CompensationFailed
from windlass.engine.heads import to_json
from windlass.engine.history import History
from windlass.engine.ops import CALL
from windlass.engine.run import Run
from windlass.engine.scope import CURRENT, Scope
from windlass.kernel.telling import told
from windlass.values.codec import Signature

NAME = "compensation"
"""What the list is recorded as, and the scope of the steps that undo."""


class Undoable(Protocol):
    """A step, as whoever undoes it sees it."""

    fn: Any
    name: str
    signature: Signature

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it."""
        ...


class Undo:
    """How a step is undone.

    Raises:
        TypeError: the step's arguments cannot be kept by name, or ``undo`` takes one that the step has not.
    """

    def __init__(self, step: Undoable, undo: Undoable) -> None:
        takes = undo.signature.names
        if not (
            step.signature.by_name and undo.signature.by_name and takes and {*takes[1:]} <= {*step.signature.names}
        ):
            raise TypeError(
                f"step {step.name}: {undo.name} cannot undo it: it takes the result, then by name arguments that the"
                f" step has too, here any of {', '.join(step.signature.names) or 'none'}"
            )
        self._step, self._undo, self._takes = step, undo, takes[1:]
        self.place = f"{step.fn.__module__}:{step.fn.__qualname__}"
        UNDOABLE[self.place] = self

    def kept(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Return what the journal keeps of a call so that it can be undone, as one more field of JSON.

        Raises:
            NotSerializable: an argument cannot be kept.
        """
        signature = self._step.signature
        given = signature.pack((), signature.named(args, kwargs), f"input of step {self._step.name}")
        return f',"undo":{{"step":{to_json(self.place)},"given":{given}}}'

    async def __call__(self, given: Any, output: Any) -> None:
        """Undo one call, which had these arguments and this result."""
        signature, name = self._step.signature, self._step.name
        values = signature.unpack(to_json(given), f"input of step {name}")
        result = signature.restore(to_json(output), f"output of step {name}")
        await self._undo(result, **{name: values[name] for name in self._takes})


UNDOABLE: dict[str, Undo] = {}
"""How steps are undone, by where their functions stand: for those that the run does not call here and now."""


async def compensate(scope: Scope[Run], raised: Exception) -> Exception:
    """Undo the steps of a failed run that had succeeded, last first, and return what the run fails with.

    A run whose code and journal have diverged is left as it is: nobody knows what its code meant.
    """
    run = scope.run
    if not run.undoes and (run.history is None or not run.history.undoable):
        return raised
    begun = run.history is not None and f"{NAME}#1" in run.history.calls
    try:
        if run.divergence is not None:
            raise run.divergence
        done = [] if begun else await _succeeded(run)
        todo = recorded(NAME, lambda _run: done) if begun or done else []
    except Exception as error:  # noqa: BLE001  whatever it is, the run must end
        error.__dict__["compensated"] = begun
        return error
    if not todo:
        return raised
    failed = await _undo(scope, todo)
    if failed:
        run.worker.telemetry.event(
            "compensation.failed", run_id=run.run_id, workflow=run.workflow.name, steps=[*failed]
        )
        see_to = "; ".join(f"{path} ({why})" for path, why in failed.items())
        message = f"CompensationFailed: a person must see to {see_to}; the run failed with {type(raised).__name__}: "
        cause, raised = raised, CompensationFailed(message + told(raised), open=[*failed])
        raised.__cause__ = cause
    raised.__dict__["compensated"] = True
    return raised


async def _succeeded(run: Run) -> list[list[Any]]:
    """Return path, place, arguments and result of what has to be undone, in this order."""
    calls = [(call.path, call.data or {}) for call in (await journal(run)).undoable]
    return [[path, data["undo"]["step"], data["undo"]["given"], data["output"]] for path, data in calls]


async def journal(run: Run) -> History:
    """Return what a run has come to by now, all that it has called included."""
    await run.barrier()
    return History(await run.submit(CALL, lambda tx: tx.load_events([run.run_id]).get(run.run_id, ())))


async def _undo(scope: Scope[Run], todo: Sequence[Sequence[Any]]) -> dict[str, str]:
    """Undo each step; returns those where it failed, and why."""
    failed: dict[str, str] = {}
    known: dict[str, Undo] = UNDOABLE | scope.run.undoes
    inner = Scope(scope.run, f"{NAME}/")
    inner.task = scope.task
    token = CURRENT.set(inner)
    try:
        for path, place, given, output in todo:
            try:
                await known[place](given, output)
            except Exception as error:  # noqa: BLE001  the others are undone whatever it is
                failed[path] = told(error) if place in known else f"no step {place} is known here"
    finally:
        CURRENT.reset(token)
        inner.task = None
    return failed
