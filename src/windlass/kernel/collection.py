"""When garbage is searched for: not while very many objects are made at once."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

MANY = 5000
"""From so many objects on it is worth it."""


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
