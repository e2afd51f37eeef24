"""How an interpreter is set that carries runs out: when it looks for garbage, and how its threads take turns."""

from __future__ import annotations

import gc
import sys
from functools import cache

THRESHOLDS = (5000, 10, 10)
"""Of the garbage collector: a search finds little where runs are carried out, and looks at all that waits."""
SWITCH_SECONDS = 0.0005
"""How long a thread keeps the interpreter when another wants it: at Python's usual 5 ms, threads that talk to the
database and the event loop hold each other up for that long at every turn."""


@cache
def tune_process() -> None:
    """Set this process to the engine's work, once: what comes later may be garbage one day.

    What has been loaded is kept out of garbage collection: looking through all of it stops everything for 0.1 s.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    sys.setswitchinterval(SWITCH_SECONDS)
