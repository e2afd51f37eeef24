"""The default processor: a versioned set of rules that scores a payload and classifies it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from windlass.contexts.records.outcome import Outcome, Rejected

RULES = "default-1"
"""Names the rules in every result; a change of the rules below is a new name."""

PARTS = ("priority", "impact", "urgency")
WEIGHTS = {"severity": 0.5, "impact": 0.3, "urgency": 0.2}
SUM_LIMITS = (12, 6)
WEIGHTED_LIMITS = (8, 4)
_NUMERIC = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_EXACT = 1 << 53


def classify(payload: Mapping[str, Any]) -> Outcome:
    """Score and classify a payload.

    Raises:
        Rejected: a value that counts is there and is no number.
    """
    metrics = payload.get("metrics")
    if "metrics" in payload:
        if not isinstance(metrics, Mapping):
            raise Rejected("invalid metrics")
        weighted = sum(weight * _number(metrics, name) for name, weight in WEIGHTS.items())
        score, limits = round(float(weighted), 2), WEIGHTED_LIMITS
    else:
        score, limits = sum(_number(payload, name) for name in PARTS), SUM_LIMITS
    if not math.isfinite(score):
        raise Rejected("invalid score")
    classification = "high" if score >= limits[0] else "medium" if score >= limits[1] else "low"
    return Outcome(classification, score, {"score": score, "classification": classification, "rules": RULES})


def _number(values: Mapping[str, Any], name: str) -> float:
    if name not in values:
        return 0
    value = values[name]
    if isinstance(value, str) and _NUMERIC.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Rejected(f"invalid {name}")
    return int(value) if abs(value) <= _EXACT and value == int(value) else float(value)
