"""The door to workflows written as documents: what the edges, other contexts and users' own modules may use."""

from __future__ import annotations

from windlass.contexts.workflows.runs.plan import Rules
from windlass.contexts.workflows.runs.projection import investigation, shown_attempts, shown_steps
from windlass.contexts.workflows.runs.service import NotInTime, Order, RunRules, Runs
from windlass.contexts.workflows.runs.tasks import RUN

__all__ = [
    "RUN",
    "NotInTime",
    "Order",
    "Rules",
    "RunRules",
    "Runs",
    "investigation",
    "shown_attempts",
    "shown_steps",
]
