"""Windlass: durable workflow automation in one Python package.

    from windlass import signal, sleep, step, workflow

Names are loaded when first used, so that importing the package (``windlass --help``) stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from windlass.deploy.patches import deprecate_patch, patched
    from windlass.engine.api import now, random, signal, sleep, sleep_until, uuid
    from windlass.engine.branches import gather, map  # noqa: A004
    from windlass.engine.continuing import checkpoint, continue_as_new
    from windlass.engine.engine import Engine
    from windlass.engine.errors import (
        BareTaskError,
        CompensationFailed,
        Fatal,
        NonDeterminismError,
        Overloaded,
        RunCancelled,
        RunConflict,
        RunFailed,
        SignalTimeout,
        StepFailed,
        StepTimeout,
        UnknownRun,
        UnknownWorkflow,
    )
    from windlass.engine.handle import Handle
    from windlass.engine.registry import Registry
    from windlass.engine.step import Step, step
    from windlass.engine.workflow import Workflow, workflow
    from windlass.kernel.errors import NotSerializable
    from windlass.kernel.items import StreamItem
    from windlass.kernel.stepping import StepInfo, step_info
    from windlass.live.api import (
        NoAnswer,
        QueryFailed,
        QueryRefused,
        StreamClosed,
        Update,
        UpdateFailed,
        UpdateRefused,
        UpdateTimeout,
        on_query,
        publish,
        stream,
        updates,
    )

__version__ = "0.1.0"

_HOMES = {
    "api": ("now", "random", "signal", "sleep", "sleep_until", "uuid"),
    "branches": ("gather", "map"),
    "engine": ("Engine",),
    "handle": ("Handle",),
    "errors": (
        "BareTaskError",
        "CompensationFailed",
        "Fatal",
        "NonDeterminismError",
        "Overloaded",
        "RunCancelled",
        "RunConflict",
        "RunFailed",
        "SignalTimeout",
        "StepFailed",
        "StepTimeout",
        "UnknownRun",
        "UnknownWorkflow",
    ),
    "continuing": ("checkpoint", "continue_as_new"),
    "registry": ("Registry",),
    "step": ("Step", "step"),
    "workflow": ("Workflow", "workflow"),
}
_WHERE = {name: f"windlass.engine.{module}" for module, names in _HOMES.items() for name in names}
_WHERE["NotSerializable"] = "windlass.kernel.errors"
_WHERE |= dict.fromkeys(("StepInfo", "step_info"), "windlass.kernel.stepping")
_WHERE["StreamItem"] = "windlass.kernel.items"
_WHERE |= dict.fromkeys(
    (
        "NoAnswer",
        "QueryFailed",
        "QueryRefused",
        "StreamClosed",
        "Update",
        "UpdateFailed",
        "UpdateRefused",
        "UpdateTimeout",
        "on_query",
        "publish",
        "stream",
        "updates",
    ),
    "windlass.live.api",
)
_WHERE |= dict.fromkeys(("deprecate_patch", "patched"), "windlass.deploy.patches")

__all__ = [
    "BareTaskError",
    "CompensationFailed",
    "Engine",
    "Fatal",
    "Handle",
    "NoAnswer",
    "NonDeterminismError",
    "NotSerializable",
    "Overloaded",
    "QueryFailed",
    "QueryRefused",
    "Registry",
    "RunCancelled",
    "RunConflict",
    "RunFailed",
    "SignalTimeout",
    "Step",
    "StepFailed",
    "StepInfo",
    "StepTimeout",
    "StreamClosed",
    "StreamItem",
    "UnknownRun",
    "UnknownWorkflow",
    "Update",
    "UpdateFailed",
    "UpdateRefused",
    "UpdateTimeout",
    "Workflow",
    "checkpoint",
    "continue_as_new",
    "deprecate_patch",
    "gather",
    "map",
    "now",
    "on_query",
    "patched",
    "publish",
    "random",
    "signal",
    "sleep",
    "sleep_until",
    "step",
    "step_info",
    "stream",
    "updates",
    "uuid",
    "workflow",
]


def __getattr__(name: str) -> Any:
    """Load a public name from where it lives."""
    if name not in _WHERE:
        raise AttributeError(f"module 'windlass' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
