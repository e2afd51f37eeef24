"""How a run begins anew without what it has behind it: its journal grows, what is read of it does not. Promise 4."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

import orjson

from windlass.engine.errors import Suspend
from windlass.engine.heads import to_json
from windlass.engine.history import CONTINUED
from windlass.engine.scope import Scope, current_scope
from windlass.engine.types import Event, NewEvent, Park

_GROUP = re.compile(r"[gm]([0-9]+)\.")
"""How the scope of a branch of the workflow itself begins, with the number of its group."""


class ContinueAsNew(Suspend):
    """Leaves the code of a run that begins anew with these ``inputs``, JSON text; user code does not swallow it."""

    def __init__(self, inputs: str) -> None:
        super().__init__("this run begins anew")
        self.inputs = inputs


def continue_as_new(*args: Any, **kwargs: Any) -> NoReturn:
    """Let the workflow begin anew in the same run, with these arguments and an empty history.

    What was recorded stays to be looked at and is replayed no more, so a run may go on for years. Signals that nobody
    has waited for yet, the run's id, and whoever waits for its end all stay.

    Raises:
        NotSerializable: an argument cannot be kept.
        RuntimeError: it is called in a branch of the workflow, or a step that knows how it is undone has succeeded:
            what there is to undo would be forgotten.
        NonDeterminismError: the code has not called all that its journal holds.
    """
    scope = current_scope("continue_as_new")
    run = scope.run
    if scope.prefix:
        raise RuntimeError("continue_as_new is for the workflow itself, not for one of its branches")
    if run.undoes or (run.history is not None and run.history.undoable):
        raise RuntimeError("continue_as_new would forget how steps are undone that have compensate=")
    if run.divergence is not None:
        raise run.divergence
    if run.live is not None:
        run.live.begins_anew()
    scope.leave()
    raise ContinueAsNew(run.workflow.signature.pack(args, kwargs, f"input of {run.workflow.name}"))


def checkpoint(*args: Any, every: int = 1000, **kwargs: Any) -> None:
    """Begin anew with these arguments once the workflow itself has made ``every`` calls; before that do nothing.

    For loops: called once a turn with what the next turn needs, it bounds what a replay has to read. A run that went on
    here with another ``every`` goes on in a replay, too, so ``every`` may be changed while runs are open.

    Raises:
        ValueError: ``every`` is below 1.
        RuntimeError, NotSerializable, NonDeterminismError: see ``continue_as_new``.
    """
    if every < 1:
        raise ValueError(f"every must be at least 1, not {every}")
    scope = current_scope("checkpoint")
    if sum(scope.counts.values()) + scope.groups >= every and not _went_on(scope):
        continue_as_new(*args, **kwargs)


def _went_on(scope: Scope[Any]) -> bool:
    """Whether the journal holds a call, or branches, that the code has not come to yet."""
    if scope.at < len(scope.order):
        return True
    history = scope.run.history
    found = () if history is None else map(_GROUP.match, history.orders)
    return any(int(group[1]) > scope.groups for group in found if group is not None)


async def begin_anew(run: Any, inputs: str) -> None:
    """Write down that a run (which knows of this, and not the other way) begins anew, and queue it."""
    event = NewEvent("run_continued", None, f'{{"inputs":{inputs}}}', run.worker.clock.now())
    with suppress(Suspend):
        await run.commit([event], park=Park("continued", ready=True, heard=run.mail.unwanted))


def latest(events: Sequence[Event], inputs: str) -> tuple[Sequence[Event], str]:
    """Return the part of a journal that is replayed, and the arguments with which it begins.

    Args:
        events: of one run, in order.
        inputs: its arguments when it was started, as JSON text.
    """
    for place in range(len(events) - 1, -1, -1):
        if events[place].type == CONTINUED:
            return events[place:], begun_with(events[place:], inputs)
    return events, inputs


def begun_with(part: Sequence[Event], inputs: str) -> str:
    """Return the arguments of the part of a journal that is replayed; ``inputs`` are those of the whole run."""
    begins_anew = bool(part) and part[0].type == CONTINUED
    return to_json(orjson.loads(part[0].payload)["inputs"]) if begins_anew else inputs
