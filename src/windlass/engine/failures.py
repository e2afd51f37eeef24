"""Exceptions as data, and which calls a failure came from."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import CancelledError
from typing import Any

from windlass.engine.errors import CompensationFailed, StepFailed, Suspend
from windlass.kernel.errors import WindlassError
from windlass.kernel.telling import told

_BESIDE = "windlass_beside"


def code_error(error: BaseException) -> Exception:
    """Return what user code raised as an error that anybody can be handed, also where it is no ``Exception``.

    ``sys.exit`` in a step ends the step, not the process; a future takes no ``StopIteration``.

    Raises:
        KeyboardInterrupt, GeneratorExit, Suspend: these are not the code's own.
    """
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    if isinstance(error, (KeyboardInterrupt, GeneratorExit, Suspend)):
        raise error
    own = RuntimeError(f"{type(error).__name__}: {told(error)}".removesuffix(": "))
    own.__cause__ = error
    return own


def own_error(error: BaseException) -> Exception:
    """Return what the running task's code raised, where a cancellation that nobody asked for is an error like others.

    Raises:
        asyncio.CancelledError: somebody cancels this task.
        KeyboardInterrupt, GeneratorExit, Suspend: see ``code_error``.
    """
    if not isinstance(error, asyncio.CancelledError):
        return code_error(error)
    task = asyncio.current_task()
    if task is None or task.cancelling():
        raise error
    return cancelled_itself(error, "something it waited for was cancelled")


def cancelled_itself(error: BaseException, message: str) -> Exception:
    """Return a cancellation that nobody asked for as an error."""
    own = CancelledError(message)
    own.__cause__ = error
    return own


def describe(error: BaseException) -> dict[str, Any]:
    """Return an exception as JSON-ready data: type, message, and the data of our own errors."""
    details: dict[str, Any] = {
        "type": type(error).__name__,
        "message": told(error) or type(error).__name__,
    }
    if isinstance(error, (StepFailed, CompensationFailed)):
        details |= {key: error.data[key] for key in ("step", "error_type", "attempts", "open") if key in error.data}
    return details


def failed_steps(error: BaseException) -> list[str]:
    """Return the paths of the calls whose failure this is: along its causes the first, and those that failed beside it.

    What lies further back was caught, and something else was done instead.
    """
    paths = []
    seen: set[int] = set()
    chains: list[BaseException | None] = [error]
    while chains:
        cause = chains.pop()
        while cause is not None and id(cause) not in seen:
            seen.add(id(cause))
            chains.extend(cause.__dict__.get(_BESIDE, ()))
            if isinstance(cause, WindlassError) and isinstance(step := cause.data.get("step"), str):
                paths.append(step)
                break
            cause = cause.__cause__ or cause.__context__
    return paths


def beside(error: BaseException, others: Iterable[BaseException]) -> None:
    """Keep with a failure that is raised those of the branches beside it: a retry begins with all of them."""
    error.__dict__.setdefault(_BESIDE, []).extend(other for other in others if other is not error)
