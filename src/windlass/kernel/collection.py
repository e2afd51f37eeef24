"""When garbage is searched for: not among what was loaded to stay, nor while very many objects are made at once."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

MANY = 5000
"""From so many objects on it is worth it."""


THRESHOLDS = (5000, 20, 50)
"""For processes that carry runs out: a search finds little there, and looks at all that waits."""


@cache
def settle_memory() -> None:
    """Keep what has been loaded out of garbage collection: looking through all of it stops everything for 0.1 s.

    Once in a process: what comes later may be garbage one day.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


@contextmanager
def uncollected(many: int) -> Iterator[None]:
    """Keep the garbage collector from running while about so many objects are made."""
    if many < MANY or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
