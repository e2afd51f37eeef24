"""Steps that choose an executor: in a test they run in threads, for no skipped time fits another process's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from windlass.engine.run import Run
from windlass.engine.step import Step


def threaded(step: Step[..., Any]) -> Step[..., Any]:
    """Return a step as one that runs in a thread."""
    if step.executor is None:
        return step
    made = copy.copy(step)
    made.executor = None
    return made


def keep_in_threads(ours: Callable[[Run], bool]) -> None:
    """Have steps of runs that are ``ours`` run in threads, from now on."""
    attempt = Step._attempt

    async def attempted(self: Any, run: Run, path: str, number: int, args: Any, kwargs: Any) -> Any:
        return await attempt(threaded(self) if ours(run) else self, run, path, number, args, kwargs)

    Step._attempt = attempted  # type: ignore[method-assign, assignment]
