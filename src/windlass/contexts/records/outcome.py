"""What processing a record comes to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from windlass.contexts.records.model import CLASSIFICATION_LENGTH, ERROR_LENGTH


class Rejected(Exception):
    """Raised by a processor to fail the record with a reason of its own, in a few words."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A processed record's classification (up to 64 characters), score (finite) and result (a JSON object)."""

    classification: str | None = None
    score: float | None = None
    result: Mapping[str, Any] | None = None


class BadOutcome(TypeError):
    """A processor returned something that is no outcome."""


def from_return(value: object) -> Outcome:
    """Return what a processor returned as an outcome.

    An ``Outcome`` is taken as it is; a mapping is the result, and its ``classification`` and ``score`` count when
    they are of the right type; None is an outcome with nothing to say.

    Raises:
        BadOutcome: it is none of these, or breaks a limit.
    """
    if value is None:
        return Outcome()
    if isinstance(value, Mapping):
        label, score = value.get("classification"), value.get("score")
        number = isinstance(score, int | float) and not isinstance(score, bool)
        value = Outcome(label if isinstance(label, str) else None, score if number else None, value)
    if not isinstance(value, Outcome):
        raise BadOutcome(f"a processor returns an Outcome, a mapping or None, not {type(value).__name__}")
    if value.classification is not None and not 0 < len(value.classification) <= CLASSIFICATION_LENGTH:
        raise BadOutcome(f"a classification has 1 to {CLASSIFICATION_LENGTH} characters")
    if value.score is not None and not math.isfinite(value.score):
        raise BadOutcome("a score is a finite number")
    return value


def short(reason: str) -> str:
    """Return a reason as it is kept with the record: one line, without NUL, of bounded length."""
    return " ".join(reason.replace("\0", "").split())[:ERROR_LENGTH] or "failed"
