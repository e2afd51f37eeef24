"""What a workflow may ask, checked before anything is stored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from windlass.contexts.people.forms import check_form
from windlass.contexts.people.model import Kind, persons
from windlass.kernel.checks import LONGEST_SECONDS, check_number
from windlass.kernel.errors import Invalid

NAME_LENGTH = 255
INSTRUCTIONS_LENGTH = 20_000
MOST_ASSIGNEES = 50
SHORTEST_REMINDER = 1.0
"""Seconds: reminders more often than that are a mistake."""


@dataclass(frozen=True, slots=True)
class Question:
    """A checked question; ``form`` is JSON text, ``timeout`` and ``reminder`` are seconds."""

    kind: Kind
    step_id: str
    assigned_to: tuple[str, ...]
    instructions: str
    form: str | None
    timeout: float | None
    quorum: int
    reminder: float | None


def question(
    *,
    kind: str,
    step_id: str,
    assigned_to: str | Sequence[str],
    instructions: str,
    form_schema: Mapping[str, Any] | None,
    timeout: float | None,
    quorum: int,
    reminder: float | None,
) -> Question:
    """Return a question that can be asked.

    Raises:
        Invalid: something of it is wrong; names it.
    """
    if kind not in {one.value for one in Kind}:
        raise Invalid(f"kind is human or approval, not {kind!r}", field="kind")
    _check_name("step_id", step_id)
    names = check_assignees(assigned_to)
    if len(instructions) > INSTRUCTIONS_LENGTH or not storable(instructions):
        words = f"instructions are a text of at most {INSTRUCTIONS_LENGTH} characters, without NUL"
        raise Invalid(words, field="instructions")
    if timeout is not None:
        check_number("timeout", timeout, 0, LONGEST_SECONDS)
    if reminder is not None:
        check_number("reminder", reminder, SHORTEST_REMINDER, LONGEST_SECONDS)
    check_number("quorum", quorum, 1, MOST_ASSIGNEES, whole=True)
    if quorum > len(names) and not any(name.startswith("role:") for name in names):
        raise Invalid(f"quorum is {quorum}, and only {len(names)} are asked", field="quorum")
    form = None if form_schema is None else check_form(form_schema)
    return Question(Kind(kind), step_id, names, instructions, form, timeout, quorum, reminder)


def check_assignees(given: object) -> tuple[str, ...]:
    """Return who is asked: names or ids of users, or ``role:`` and the name of a role.

    Raises:
        Invalid: nobody is, or a name is none.
    """
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, Sequence) or not 1 <= len(names) <= MOST_ASSIGNEES:
        raise Invalid(f"assigned_to is a user, or a list of 1 to {MOST_ASSIGNEES}", field="assigned_to")
    for name in names:
        _check_name("assigned_to", name)
    return persons(names)


def _check_name(field: str, name: object) -> None:
    if not (isinstance(name, str) and 1 <= len(name) <= NAME_LENGTH and name.isprintable() and name.strip()):
        raise Invalid(f"{field} is 1 to {NAME_LENGTH} printable characters and not blank", field=field)


def storable(text: str) -> bool:
    """Say whether both databases can keep a text as it is."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def microseconds(seconds: float) -> int:
    """Return a time in the engine's unit."""
    return math.ceil(seconds * 1_000_000)
