"""What each shape must return: the labels, in order."""

from __future__ import annotations

from typing import Any

from tests.simulation.documents import RUN

SPOKEN = {"go", "left", "right", "last", "decision"}


def expected(shape: str, label: str, inputs: dict[str, Any]) -> list[str] | None:
    """Return the labels that a run of a shape sees, or None where signals and failures decide."""
    if shape == "chain":
        return _chain(label, inputs["steps"])
    if shape == "fan" and not inputs["failing"]:
        return _fan(label, inputs["width"])
    if shape == "family":
        return _family(label, inputs["depth"])
    if shape == "retries":
        return [f"{label}.{name}" for name in ("a", "b", "c", "d", "e", "g", "h", "i")]
    if shape == "money":
        told = [f"{label}.t"] if inputs["peer"] is not None else []
        places = [f"{label}.{place}" for place in range(inputs["width"])]
        return [f"{label}.a", *places, f"{label}.s", f"{label}.w", *told, f"{label}.z"]
    if shape == RUN and inputs["labels"] is not None:
        return [name if name in SPOKEN else f"{label}.{name}" for name in inputs["labels"]]
    if shape == "saga":
        places = [f"{label}.t.{place}" for place in range(inputs["width"])]
        return [f"{label}.t.a", f"{label}.t.d", f"{label}.t.p", *places, f"{label}.z"]
    if shape == "narrow":
        return _narrow(label, inputs["depth"])
    return None


def _chain(label: str, steps: int) -> list[str]:
    seen = []
    for number in range(steps):
        seen += ["value"] if number % 4 == 2 else []
        seen.append(f"{label}.{number}")
    return seen


def _fan(label: str, width: int) -> list[str]:
    seen = []
    for place in range(width):
        middle = [f"{label}.{place}.x", f"{label}.{place}.y"] if place % 2 else []
        seen += [f"{label}.{place}.a", *middle, f"{label}.{place}.b"]
    return seen + [f"{label}.m{place}" for place in range(width)]


def _family(label: str, depth: int) -> list[str]:
    seen = _chain(f"{label}.c", 3)
    if depth:
        seen += [*_family(f"{label}.l", depth - 1), f"{label}.e", *_family(f"{label}.r", 0), f"{label}.o"]
    return [*seen, f"{label}.z"]


def _narrow(label: str, depth: int) -> list[str]:
    below = [*_narrow(f"{label}.0", depth - 1), *_narrow(f"{label}.1", 0)] if depth else []
    return [f"{label}.a", *below]
