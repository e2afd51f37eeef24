"""Exceptions as data, and which calls a failure came from."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError
from typing import Any

from windlass.engine.errors import StepFailed


def own_error(error: BaseException) -> Exception:
    """Return what the running task's code raised, where a cancellation that nobody asked for is an error like others.

    Raises:
        asyncio.CancelledError: somebody cancels this task.
    """
    if isinstance(error, Exception):
        return error
    task = asyncio.current_task()
    if task is None or task.cancelling():
        raise error
    own = CancelledError("something it waited for was cancelled")
    own.__cause__ = error
    return own


def describe(error: BaseException) -> dict[str, Any]:
    """Return an exception as JSON-ready data: type, message, and the data of our own errors."""
    details: dict[str, Any] = {
        "type": type(error).__name__,
        "message": str(error)[:2000] or type(error).__name__,
    }
    if isinstance(error, StepFailed):
        details |= {key: error.data[key] for key in ("step", "error_type", "attempts") if key in error.data}
    return details


def failed_steps(error: BaseException) -> list[str]:
    """Return the paths of the calls whose failure this is, through causes and contexts."""
    paths = []
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        step = getattr(cause, "data", {}).get("step") if hasattr(cause, "data") else None
        if isinstance(step, str):
            paths.append(step)
        cause = cause.__cause__ or cause.__context__
    return paths
