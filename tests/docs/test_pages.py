"""Every document can be followed from top to bottom, and its commands answer what it says."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.blocks import Block, blocks, pages
from tests.docs.not_run import NOT_RUN, SYSTEM_ONLY
from tests.docs.parts import PARTS, Part
from tests.docs.session import OtherOutput, compare
from tests.support.paths import ROOT


@pytest.mark.parametrize("part", PARTS, ids=str)
@pytest.mark.timeout(300)
def test_a_document_can_be_followed(part: Part, tmp_path: Path, new_postgres: Callable[[], str]) -> None:
    part.follow(tmp_path, new_postgres, stand_ins=True)


def test_every_block_is_followed_or_only_shown() -> None:
    followed = {block for part in PARTS for block in part.blocks}
    left = [block.where for page in pages() for block in blocks(page) if block not in followed]

    assert left == []


def test_every_block_says_what_it_is() -> None:
    known = {"bash", "python", "json", "text", "sql", "toml", "yaml"}
    odd = [block.where for page in pages() for block in blocks(page) if block.language not in known]

    assert odd == []


def test_whatever_is_not_run_is_still_there_and_has_a_reason() -> None:
    lines = {line.strip() for page in pages() for block in blocks(page) for line in block.text.splitlines()}

    assert NOT_RUN.keys() | SYSTEM_ONLY.keys() <= lines
    assert all(len(reason) > 20 for reason in [*NOT_RUN.values(), *SYSTEM_ONLY.values()])


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_shell(page: Path) -> None:
    for block in blocks(page):
        if block.language == "bash":
            done = subprocess.run(["/bin/sh", "-n"], input=block.text, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{block.where}: {done.stderr}"


@pytest.mark.parametrize(
    "language,shown,printed,same",
    [
        ("text", "ok\n", "ok\n", True),
        ("text", "id … done\n", "id 7f done\n", True),
        ("text", "ok\n", "not ok\n", False),
        ("json", '{"a": 1}', '{"a":1}', True),
        ("json", '{"a": 1}', '{"a":1,"b":2}', False),
        ("json", '{"a": 1, "…": "…"}', '{"a":1,"b":2}', True),
        ("json", '{"a": "…"}', "{}", False),
        ("json", '[1, "…"]', "[1,2,3]", True),
        ("json", '[1, "…"]', "[2]", False),
        ("json", '{"error": {"code": "NOT_FOUND"}}', '{"error":{"code":"CONFLICT"}}', False),
    ],
)
def test_an_answer_is_compared(language: str, shown: str, printed: str, same: bool) -> None:
    block = Block(ROOT / "README.md", "", 1, language, shown, adjacent=True)
    if same:
        compare(block, shown, printed)
    else:
        with pytest.raises(OtherOutput):
            compare(block, shown, printed)
