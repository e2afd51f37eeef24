"""In which pieces documents are followed: most pages at once, some a section at a time, each in a folder of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.docs.blocks import Block, blocks, pages
from tests.docs.not_run import NOT_RUN, SYSTEM_ONLY
from tests.docs.session import Session
from tests.support.paths import DOCS, ROOT

BY_SECTION = {ROOT / "README.md", DOCS / "runbook.md"}
APART = {"Common Issues"}
"""Sections whose subsections do not follow each other: each is a trouble of its own."""


@dataclass(frozen=True)
class Part:
    """Blocks that are followed together in one folder."""

    name: str
    blocks: tuple[Block, ...]

    def __str__(self) -> str:
        return self.name

    def follow(self, folder: Path, postgres: Callable[[], str], *, stand_ins: bool) -> None:
        """Do what the blocks say."""
        skipped = NOT_RUN.keys() | (SYSTEM_ONLY.keys() if stand_ins else set())
        Session(folder, postgres, stand_ins, frozenset(skipped)).follow(self.blocks)


def _parts() -> list[Part]:
    found = []
    for page in pages():
        name = str(page.relative_to(ROOT))
        if page not in BY_SECTION:
            if blocks(page):
                found.append(Part(name, blocks(page)))
            continue
        sections: dict[str, list[Block]] = {}
        for block in blocks(page):
            section = block.section.partition(": ")[0]
            sections.setdefault(block.section if section in APART else section, []).append(block)
        found += [Part(f"{name}: {section}", tuple(some)) for section, some in sections.items()]
    return found


PARTS = _parts()
