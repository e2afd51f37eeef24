"""The door to schedules: what the edges and other contexts may use."""

from __future__ import annotations

from windlass.contexts.schedules.cron import zones
from windlass.contexts.schedules.intake import Changes, Draft, Trial, Window
from windlass.contexts.schedules.model import Aim, Order, Schedule, Target, UnknownSchedule, UnknownTarget
from windlass.contexts.schedules.service import EVERYBODY, Options, Rescanned, Schedules
from windlass.contexts.schedules.targets import PythonTarget, Targets

__all__ = [
    "EVERYBODY",
    "Aim",
    "Changes",
    "Draft",
    "Options",
    "Order",
    "PythonTarget",
    "Rescanned",
    "Schedule",
    "Schedules",
    "Target",
    "Targets",
    "Trial",
    "UnknownSchedule",
    "UnknownTarget",
    "Window",
    "zones",
]
