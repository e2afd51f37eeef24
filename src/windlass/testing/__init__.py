"""A test kit for workflows: an engine whose time skips, crashes at every commit, journals as files, and a lint.

    import windlass.testing

Names are loaded when first used: whoever loads the pytest plugin pays nothing until a test asks for something.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from windlass.testing.crash import crash_everywhere
    from windlass.testing.driver import Driver
    from windlass.testing.journals import JournalDiverged, Recording, record, replay
    from windlass.testing.linting import lint
    from windlass.testing.memory import SkippingClock, TestEngine, engine, run
    from windlass.testing.report import PromiseBroken, Report
    from windlass.testing.skipping import NeverEnds

_HOMES = {
    "crash": ("crash_everywhere",),
    "driver": ("Driver",),
    "memory": ("SkippingClock", "TestEngine", "engine", "run"),
    "journals": ("JournalDiverged", "Recording", "record", "replay"),
    "linting": ("lint",),
    "skipping": ("NeverEnds",),
    "report": ("PromiseBroken", "Report"),
}
_WHERE = {name: f"windlass.testing.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [
    "Driver",
    "JournalDiverged",
    "NeverEnds",
    "PromiseBroken",
    "Recording",
    "Report",
    "SkippingClock",
    "TestEngine",
    "crash_everywhere",
    "engine",
    "lint",
    "record",
    "replay",
    "run",
]


def __getattr__(name: str) -> Any:
    """Load a public name from where it lives."""
    if name not in _WHERE:
        raise AttributeError(f"module 'windlass.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
