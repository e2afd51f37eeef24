"""In which pieces documents are followed: a page at once, the runbook and the README a section at a time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.blocks import Block, blocks, pages
from tests.docs.not_run import NOT_RUN
from tests.docs.session import Session
from tests.support.paths import DOCS, ROOT

BY_SECTION = {ROOT / "README.md", DOCS / "runbook.md"}


@dataclass(frozen=True)
class Part:
    """Blocks that are followed together in one folder.

    `environment` holds the settings that the text tells the reader to have before.
    """

    name: str
    blocks: tuple[Block, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    def follow(self, folder: Path, postgres: Callable[[], str], *, stand_ins: bool) -> None:
        """Do what the blocks say."""
        Session(folder, postgres, self.environment, stand_ins, frozenset(NOT_RUN)).follow(self.blocks)


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
            sections.setdefault(block.section, []).append(block)
        found += [Part(f"{name}: {section}", tuple(some)) for section, some in sections.items()]
    return found


PARTS = _parts()
