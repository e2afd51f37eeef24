"""What a look has come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from windlass.cli.output import number

NAMED = 5
"""How many things a finding names."""
REPAIR = "windlass doctor --repair"


@dataclass(frozen=True, slots=True)
class Check:
    """An answer: ``result`` is ok, warning or failed, ``said`` explains it, ``advice`` says what to do."""

    check: str
    result: str
    said: str
    advice: str = ""


def naming(names: Sequence[str], total: int | None = None) -> str:
    """Return the first of some names, and how many more there are."""
    every = len(names) if total is None else total
    more = f"; and {number(every - NAMED)} more" if every > NAMED else ""
    return "; ".join(names[:NAMED]) + more
