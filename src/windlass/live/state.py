"""What the process that holds a run knows of its streams and queries, and how code finds the run it belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from windlass.engine.errors import Suspend
from windlass.engine.run import Run, late_opening
from windlass.engine.scope import CURRENT, HELD
from windlass.engine.types import InboxRow, NewEvent
from windlass.kernel.stepping import RUNNING, StepInfo

Handler = Callable[[Any], Any]


@dataclass(eq=False)
class Outlet:
    """The end of a stream, where the run that writes it is held; ``next`` is the next offset once it is known."""

    next: int | None = None
    closed: bool = False
    last: NewEvent | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(eq=False)
class State:
    """``asked`` are queries that wait for their answer, by the ids of their inbox rows, ``taken`` updates by theirs."""

    outlets: dict[str, Outlet] = field(default_factory=dict)
    queries: dict[str, Handler] = field(default_factory=dict)
    asked: dict[str, InboxRow] = field(default_factory=dict)
    taken: dict[str, Any] = field(default_factory=dict)

    def begins_anew(self) -> None:
        """Answer the updates that are open: code that begins anew does not know of them, and who sent them waits."""
        for update in list(self.taken.values()):
            update.answer()


def state_of(run: Run) -> State:
    """Return what is known of a run that is held here."""
    if run.live is None:
        run.live = State()
    found: State = run.live
    return found


def running_step(what: str) -> tuple[Run, StepInfo] | None:
    """Return the run and the step whose code this is; None for code of a workflow.

    Raises:
        RuntimeError: it is a step that another process or a transaction carries out.
    """
    info = RUNNING.get()
    if info is None or CURRENT.get() is not None:
        return None
    run: Run | None = HELD.get(None)
    in_callback = asyncio._get_running_loop() is not None and asyncio.current_task() is None
    if run is None or run.run_id != info.run_id or in_callback:
        raise RuntimeError(
            f"{what} works in steps on this process's event loop and threads, not in a transactional one"
        )
    return run, info


def put(run: Run, event: NewEvent, write: Callable[[Any, list[Any]], None], row: object) -> None:
    """Have an event, and a row beside it, written in one commit as soon as the run does not only replay."""
    run.along.append((write, row))
    if run.replaying:
        run.pending.append(event)
        run.worker.keep(run.loop.create_task(_catch_up(run)))
    else:
        run.record([event])


def begun(run: Run, path: str) -> list[NewEvent]:
    """Return the event of the start of a step that runs, unless it was written: before what the step itself writes."""
    started = run.executing.get(path, 0)
    if not started:
        return []
    run.executing[path] = 0
    return [late_opening(path, started)]


async def _catch_up(run: Run) -> None:
    with suppress(Suspend):
        await run.catch_up()
        await run.barrier()
