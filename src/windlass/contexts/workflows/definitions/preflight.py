"""A look at a draft before it is saved: everything that is wrong, what should not be run twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from windlass.contexts.workflows.definitions.catalogue import Catalogue
from windlass.contexts.workflows.definitions.faults import Finding
from windlass.contexts.workflows.definitions.validation import validate

Mode = Literal["block", "non-block"]
MODES: tuple[Mode, ...] = ("block", "non-block")
INVALID, DEMOTED, UNSAFE = "definition_invalid", "definition_validation_warning", "unsafe_replay_step"


def preflight(document: object, catalogue: Catalogue, mode: Mode = "block") -> dict[str, Any]:
    """Return ``valid``, ``errors`` and ``warnings`` of a draft, whatever it is.

    With ``non-block`` a draft that breaks rules is warned of; one that is no definition at all stays an error.
    """
    errors: list[dict[str, Any]] = []
    warnings: list[dict[str, Any]] = []
    for finding in validate(document, catalogue):
        if mode == "block" or finding.malformed:
            errors.append(_told(finding, INVALID))
        else:
            warnings.append(_told(finding, DEMOTED))
    warnings += _unsafe(document, catalogue)
    return {"valid": not errors, "errors": errors, "warnings": warnings}


def _told(finding: Finding, code: str) -> dict[str, Any]:
    """Return a finding under the code that tells how grave it is; its own is the ``reason``."""
    message = finding.message
    if finding.malformed:
        message = f"{finding.path or 'definition'}: {message}"
    return {**finding.shown(), "code": code, "message": message, "reason": finding.code}


def _unsafe(document: object, catalogue: Catalogue) -> Iterator[dict[str, Any]]:
    for place, step, kind in _steps(document):
        known = catalogue.known(kind)
        if known is not None and not known.capabilities.replay_safe:
            message = f"A step of type {kind} is not safe to run again: what it does outside may be done twice"
            yield _warning(UNSAFE, message, f"steps.{place}", step, kind)


def _steps(document: object) -> Iterator[tuple[int, Mapping[str, Any], str]]:
    """Yield the steps of any draft that have a type, with their places."""
    steps = document.get("steps") if isinstance(document, Mapping) else None
    for place, step in enumerate(steps if isinstance(steps, list) else ()):
        if isinstance(step, Mapping) and isinstance(step.get("type"), str):
            yield place, step, step["type"]


def _warning(code: str, message: str, path: str, step: Mapping[str, Any], kind: str) -> dict[str, Any]:
    told = {"code": code, "message": message, "path": path, "step_type": kind}
    return told | ({"step_id": step["id"]} if isinstance(step.get("id"), str) else {})
