"""What a journal and a workflow's code come to together: the door of this package.

The real run of the engine reads the journal; only its host is not real. Every call that the journal does not settle
(a step to run, a timer to wait for) is where it stands still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from windlass.engine.continuing import latest
from windlass.engine.history import CONTINUED, whole_from
from windlass.engine.registry import Definition
from windlass.engine.types import ClaimedRun, Event, Finish, RunHead, Status
from windlass.kernel.errors import Invalid, NotSerializable
from windlass.replay.loop import SkippingLoop
from windlass.replay.run import Host, ReplayedRun

ENDINGS = {
    "run_completed": Status.SUCCEEDED, "run_failed": Status.FAILED, "run_cancelled": Status.CANCELLED,
    "run_retried": None,
}  # fmt: skip


class Outcome(StrEnum):
    """Where a replay came to."""

    WAITS = "waits"
    ENDS = "ends"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True)
class Replay:
    """How far today's code follows a journal.

    ``reason`` says it to people. ``waits``: the paths of the calls with which it would go on. ``status``, ``outputs``
    and ``error``: how it would end (JSON text, and what a failed run keeps). ``failed_steps``: the recorded calls that
    such a failure comes from; without any it is the code's own. ``open``: the journal has no end.
    """

    outcome: Outcome
    reason: str
    waits: tuple[str, ...] = ()
    status: Status | None = None
    outputs: str | None = None
    error: dict[str, Any] | None = None
    failed_steps: tuple[str, ...] = ()
    open: bool = True

    @property
    def strands(self) -> bool:
        """Whether the run would be lost with this code: it diverges, or fails of itself right after its journal."""
        own_failure = self.open and self.status is Status.FAILED and not self.failed_steps
        return self.outcome is Outcome.DIVERGED or own_failure


def replay(workflow: Definition, inputs: str, events: Sequence[Event], *, outputs: str | None = None) -> Replay:
    """Replay a journal against a workflow's code. Works in and outside of a running event loop.

    Args:
        workflow: the code of today.
        inputs: the run's arguments by name, as JSON text.
        events: its journal from number 1 on, or from where it has begun anew; open or ended.
        outputs: what the run returned, as JSON text, to be compared when it has succeeded.

    Raises:
        Invalid: the journal is not whole, so that nothing can be said.
    """
    if not events or (events[0].seq != 1 and events[0].type != CONTINUED) or whole_from(events, events[-1].seq) != 1:
        begins = events[0].seq if events else 0
        raise Invalid(f"the journal is not whole: it begins at {begins} or has gaps", field="events")
    events, inputs = latest(events, inputs)
    if asyncio._get_running_loop() is None:
        return _replay(workflow, inputs, events, outputs)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_replay, workflow, inputs, events, outputs).result()


def _replay(workflow: Definition, inputs: str, events: Sequence[Event], outputs: str | None) -> Replay:
    ending = next((event for event in reversed(events) if event.type in ENDINGS), None)
    recorded = None if ending is None else ENDINGS[ending.type]
    is_open = recorded is None
    try:
        workflow.signature.unpack(inputs, f"input of {workflow.name}")
    except NotSerializable as error:
        return Replay(Outcome.DIVERGED, str(error), open=is_open)
    loop = SkippingLoop()
    try:
        run = loop.run_to_rest(lambda: _begin(workflow, inputs, events))
        said = _lost(run, loop)
        if said is not None:
            return Replay(Outcome.DIVERGED, said, run.standing(), open=is_open)
        if run.finish is None:
            return _compare(Replay(Outcome.WAITS, _waiting(run.standing()), run.standing(), open=is_open), ending)
        return _compare(_ended(run.finish, run.failed_steps, is_open=is_open), ending, outputs)
    finally:
        loop.close()


def _begin(workflow: Definition, inputs: str, events: Sequence[Event]) -> ReplayedRun:
    run_id = events[0].run_id
    head = RunHead(
        run_id, workflow.name, Status.RUNNING, None, None, "replay", events[-1].seq, workflow.queue, 0, 0, None, None,
        0, None, None, "",
    )  # fmt: skip
    claimed = ClaimedRun(head, inputs, "default", None, None, "{}", workflow.version, events)
    run = ReplayedRun(Host(events[-1].at), workflow, claimed)
    run.start()
    return run


def _lost(run: ReplayedRun, loop: SkippingLoop) -> str | None:
    """Return why the code does not follow the journal, or None when it does."""
    if run.divergence is not None:
        return run.divergence.message
    unread = run.unread()
    if not unread:
        return "the code goes on for ever without a call that the journal could hold" if loop.endless else None
    where = _waiting(run.standing()) if run.finish is None else f"the code ends as {run.finish.status}"
    return f"workflow {run.workflow.name}: the journal holds {unread[0]!r}, which the code does not come to: {where}"


def _waiting(standing: Iterable[str]) -> str:
    return "it waits at " + (", ".join(standing) or "something that the engine does not know")


def _ended(finish: Finish, failed_steps: Iterable[str], *, is_open: bool) -> Replay:
    error = None if finish.error is None else orjson.loads(finish.error)
    why = "" if error is None else f": {error['type']}: {error['message']}"
    return Replay(
        Outcome.ENDS, f"it ends as {finish.status}{why}", (), finish.status, finish.outputs, error,
        tuple(failed_steps), is_open,
    )  # fmt: skip


def _compare(found: Replay, ending: Event | None, outputs: str | None = None) -> Replay:
    """Hold an ended journal against how the code ends now."""
    recorded = None if ending is None else ENDINGS[ending.type]
    if ending is None or recorded is None or recorded is Status.CANCELLED:
        return found
    if found.status is not recorded:
        said = f"the journal ends as {recorded}, and now {found.reason}"
    elif recorded is Status.FAILED and (was := orjson.loads(ending.payload)).get("type") != (found.error or {}).get(
        "type"
    ):
        said = f"the journal ends as failed with {was.get('type')}, and now {found.reason}"
    elif (
        recorded is Status.SUCCEEDED
        and outputs is not None
        and (orjson.loads(outputs) != orjson.loads(found.outputs or "null"))
    ):
        said = f"the run returned {outputs}, and now it returns {found.outputs}"
    else:
        return found
    return Replay(Outcome.DIVERGED, said, found.waits, found.status, found.outputs, found.error, open=False)
