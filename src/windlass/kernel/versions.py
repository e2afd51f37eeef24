"""Versions of workflows, and the codes by which a run finds a process that knows its own.

A code is the name alone for the first version, and ``order@2`` for another. A run that was started where nothing is
known of its workflow is bound to no version yet, ``order@``: whoever takes it first binds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from windlass.kernel.checks import BadName

FIRST = "1"
UNBOUND = ""
_VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}")


def check_version(version: object, whose: str = "") -> str:
    """Return a version unchanged; ``whose`` begins the message.

    Raises:
        BadName: it is not 1 to 64 letters, digits and ``_ . + -``, beginning with a letter, a digit or ``_``.
    """
    if not (isinstance(version, str) and _VERSION.fullmatch(version)):
        raise BadName(f"{whose}{version!r} is no version: use a text of 1 to 64 letters, digits and _ . + -")
    return version


def code_of(name: str, version: str) -> str:
    """Return the code of a version of a workflow."""
    return name if version == FIRST else f"{name}@{version}"


def parts_of(code: str) -> tuple[str, str]:
    """Return the name and version of a code."""
    name, at, version = code.partition("@")
    return name, version if at else FIRST


def first_version(name: str, codes: Iterable[str]) -> str:
    """Return the version of a workflow that comes first among codes."""
    return next(version for found, version in map(parts_of, codes) if found == name)


def rank_of(version: str) -> tuple[tuple[int, int, str], ...]:
    """Return by what versions are put in order: numbers in them count as numbers, so that 10 comes after 9."""
    return tuple(
        (1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"([0-9]+)", version) if part
    )
