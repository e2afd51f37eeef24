"""The documents can be followed with the programs they name, as they are installed."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.conftest import new_postgres
from tests.docs.parts import PARTS, Part
from tests.system.conftest import program

__all__ = ["new_postgres"]

PROGRAMS = ("curl", "jq", "lsof", "ps", "sqlite3")
"""Those for which `make test` has stand-ins, or none."""


def _named(part: Part) -> list[str]:
    text = "".join(block.text for block in part.blocks if block.language == "bash")
    return [name for name in PROGRAMS if re.search(rf"\b{name}\b", text)]


@pytest.mark.parametrize("part", [part for part in PARTS if _named(part)], ids=str)
@pytest.mark.timeout(300)
def test_a_document_can_be_followed_with_installed_programs(
    part: Part, tmp_path: Path, new_postgres: Callable[[], str]
) -> None:
    for name in _named(part):
        program(name)

    part.follow(tmp_path, new_postgres, stand_ins=False)
