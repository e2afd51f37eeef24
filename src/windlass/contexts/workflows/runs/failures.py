"""How a step or a run of a definition fails, in the contract's words: ``code: what happened``."""

from __future__ import annotations

import re

from windlass.contexts.workflows.steptypes.base import StepFailure
from windlass.engine.errors import Fatal, StepFailed

NEVER_AGAIN = frozenset({"validation_error", "authz_error", "invariant_violation", "template_error"})
"""Codes for which another attempt is of no use."""
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_OF_STEP = re.compile(r"step \S+ failed: (\w+): ", re.DOTALL)
_OURS = frozenset({"Failing", "Lasting", "DefinitionFailed"})


class Failing(Exception):
    """An attempt has failed and may be made again."""


class Lasting(Fatal):
    """An attempt has failed, and another would too."""


class DefinitionFailed(Exception):
    """A run of a definition has failed; the message is ``code: what happened``.

    ``compensated`` says that steps which had succeeded were undone: it cannot be retried.
    """

    def __init__(self, message: str, *, compensated: bool = False) -> None:
        super().__init__(message)
        self.compensated = compensated


def attempt_failed(failure: StepFailure) -> Exception:
    """Return what the engine is to hear of a failed attempt."""
    text = f"{failure.code}: {failure.message}"
    lasting = not failure.retryable or failure.code in NEVER_AGAIN
    return Lasting(text) if lasting else Failing(text)


def reason(error: StepFailed) -> str:
    """Return why a step failed as ``code: what happened``, the same live and replayed."""
    text, kind = str(error), "StepFailed"
    while found := _OF_STEP.match(text):
        kind, text = found[1], text[found.end() :]
    if kind in _OURS or kind == "StepFailed":
        return text
    if kind == "StepTimeout":
        return f"timeout: {text}"
    return f"{_snake(kind)}: {text}"


def code_of(text: str) -> str:
    """Return the code at the head of a reason; the contract's rule for any other text."""
    head = re.split(r"[:;|\n\t ]", text.lower(), maxsplit=1)[0]
    return head if _CODE.fullmatch(head) else "runtime_error"


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
