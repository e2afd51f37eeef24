"""What is wrong with a definition: collected whole, and told with the step it concerns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from windlass.contexts.workflows.definitions.limits import MOST_BYTES, MOST_CONFIG_BYTES
from windlass.contexts.workflows.schemas import Fault, Path
from windlass.kernel.errors import Issue, TooLarge, ValidationFailed

MALFORMED = frozenset({
    "missing", "extra_forbidden", "string_type", "integer_type", "number_type", "boolean_type", "object_type",
    "array_type", "null_type", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum",
    "minItems", "maxItems", "uniqueItems", "too_deep", "unkeepable",
})  # fmt: skip
"""Codes of what is no definition at all, rather than a definition that breaks a rule."""
DEFINITION_TOO_LARGE = "definition_too_large"
CONFIG_TOO_LARGE = "step_config_too_large"
TOO_LARGE = {DEFINITION_TOO_LARGE: MOST_BYTES, CONFIG_TOO_LARGE: MOST_CONFIG_BYTES}
"""Codes of what is too large, and the limits in bytes."""


class Finding(NamedTuple):
    """A fault with the step it concerns.

    ``path`` is where (``steps.0.type``), ``code`` stable, ``step_id`` and ``step_type`` as far as they are said.
    """

    path: str
    code: str
    message: str
    step_id: str | None
    step_type: str | None
    place: Path

    @property
    def malformed(self) -> bool:
        """Whether what was given is no definition at all."""
        return self.code in MALFORMED

    def shown(self) -> dict[str, Any]:
        """Return it as it is told, without what is not known."""
        told = {"path": self.path, "code": self.code, "message": self.message}
        steps = {"step_id": self.step_id, "step_type": self.step_type}
        return told | {name: value for name, value in steps.items() if value is not None}

    def issue(self, place: Path) -> Issue:
        """Return it as an issue of a request whose definition is at ``place``."""
        return Issue((*place, *self.place), self.message, self.code, self.shown())


def findings(document: object, faults: Iterable[Fault]) -> list[Finding]:
    """Return faults with the steps they concern, in the order of the document, none twice."""
    unique = dict.fromkeys(faults)
    return [_finding(document, fault) for fault in unique]


def _finding(document: object, fault: Fault) -> Finding:
    step: Any = None
    if len(fault.path) > 1 and fault.path[0] == "steps" and isinstance(document, Mapping):
        steps, place = document.get("steps"), fault.path[1]
        if isinstance(steps, list) and isinstance(place, int) and place < len(steps):
            step = steps[place]
    step_id, step_type = (_text(step, name) for name in ("id", "type"))
    return Finding(dotted(fault.path), fault.code, fault.message, step_id, step_type, fault.path)


def _text(step: Any, name: str) -> str | None:
    value = step.get(name) if isinstance(step, Mapping) else None
    return value[:200] if isinstance(value, str) else None


def dotted(path: Path) -> str:
    """Return a path as text: ``steps.0.type``."""
    return ".".join(map(str, path))


def refuse(found: list[Finding], place: Path = ("body",)) -> None:
    """Raise what was found, all of it at once.

    Args:
        found: what is wrong; nothing is raised when that is nothing.
        place: where in the request the definition is.

    Raises:
        TooLarge: the definition or a config is too large; ``data`` has the rest, too.
        ValidationFailed: it breaks other rules.
    """
    for one in found:
        if one.code in TOO_LARGE:
            issues = [other.shown() for other in found]
            raise TooLarge(one.message, field=one.path or None, limit=TOO_LARGE[one.code], issues=issues)
    if found:
        raise ValidationFailed([one.issue(place) for one in found])
