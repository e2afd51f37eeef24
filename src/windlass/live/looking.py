"""Code that may look at a run and change nothing of what a replay goes by: validators, and handlers of queries."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, NoReturn

from windlass.engine.failures import code_error
from windlass.engine.scope import CURRENT
from windlass.live.errors import LooksOnly


class _Looking:
    """Stands where a scope does, and refuses every call that would come to have a place in the journal."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.task = asyncio.current_task()

    def enter(self, name: str, kind: str) -> NoReturn:
        """Refuse a call."""
        raise LooksOnly(f"{self._what} may only look: it called {name} ({kind})")

    def __getattr__(self, name: str) -> NoReturn:
        raise LooksOnly(f"{self._what} may only look: it called what makes, waits for or writes something")


def look(what: str, fn: Callable[[Any], Any], value: object) -> Any:
    """Return what a function makes of a value.

    Raises:
        LooksOnly: it called something durable, or waited for something; ``what`` names it.
        Exception: what it raised, also where that would end a process (``sys.exit``).
    """
    token = CURRENT.set(_Looking(what))  # type: ignore[arg-type]
    try:
        found = fn(value)
        return _driven(what, found) if inspect.iscoroutine(found) else found
    except Exception:
        raise
    except BaseException as error:
        raise code_error(error) from error
    finally:
        CURRENT.reset(token)


def _driven(what: str, coroutine: Any) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise LooksOnly(f"{what} may only look: it waits for something")
