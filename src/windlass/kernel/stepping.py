"""Which step is running: what its function may ask, in whatever thread, process or machine it runs."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple


class StepInfo(NamedTuple):
    """Who a step is while it runs. ``idempotency_key`` is the same for every attempt, for ever."""

    run_id: str
    path: str
    attempt: int

    @property
    def idempotency_key(self) -> str:
        """Return a key to hand to other services, so that a repeated attempt is recognised there."""
        return f"{self.run_id}:{self.path}"


RUNNING: ContextVar[StepInfo | None] = ContextVar("windlass_step", default=None)


def step_info() -> StepInfo:
    """Return what step is running.

    Raises:
        RuntimeError: called outside a step.
    """
    info = RUNNING.get()
    if info is None:
        raise RuntimeError("step_info works inside a step only")
    return info
