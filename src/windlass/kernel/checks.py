"""What may be a name, a text or a number that somebody gives."""

from __future__ import annotations

import re

from windlass.kernel.errors import Invalid

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.<>:-]{0,199}")


class BadName(Invalid, ValueError):
    """A name of a workflow, step, queue or signal that is none."""


def check_name(name: str) -> str:
    """Return a workflow, step, queue or signal name unchanged.

    Raises:
        BadName: it is not 1 to 200 letters, digits and ``_ . : < > -``, beginning with a letter or ``_``.
    """
    if not _NAME.fullmatch(name):
        raise BadName(f"{name!r} is no name: use 1 to 200 letters, digits and _ . : < > -")
    return name


def check_text(field: str, text: str | None) -> str | None:
    """Return an id or key unchanged.

    Raises:
        Invalid: it is not 1 to 255 printable characters.
    """
    if text is not None and not (1 <= len(text) <= 255 and text.isprintable()):
        raise Invalid(f"{field} is 1 to 255 printable characters", field=field)
    return text
