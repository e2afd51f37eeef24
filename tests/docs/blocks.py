"""Take the fenced blocks out of the documents."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.paths import DOCS, EXAMPLES, ROOT

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>```+)(?P<info>.*)$")
_HEADING = re.compile(r"^(?P<level>#+) (?P<title>.+)$")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    `info` is what follows the opening fence, `section` the heading of the second or third level above it, `line` where
    its text begins, `adjacent` whether nothing but empty lines stands between it and the block before.
    """

    page: Path
    section: str
    line: int
    info: str
    text: str
    adjacent: bool

    @property
    def language(self) -> str:
        """The first word of the info string."""
        return self.info.partition(" ")[0]

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every document a user reads: the README, `docs/` and the examples' own."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md")), *sorted(EXAMPLES.rglob("*.md"))]


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    """The fenced blocks of a document, in order."""
    return tuple(_blocks(page))


def _blocks(page: Path) -> Iterator[Block]:
    section, adjacent = "", False
    lines = enumerate(page.read_text().splitlines(), 1)
    for number, line in lines:
        heading, fence = _HEADING.match(line), _FENCE.match(line)
        if fence:
            body = []
            for _, inner in lines:
                if inner.strip() == fence["ticks"]:
                    break
                body.append(inner.removeprefix(fence["indent"]))
            else:
                raise AssertionError(f"{page}:{number}: the block is never closed")
            yield Block(page, section, number + 1, fence["info"].strip(), "\n".join(body) + "\n", adjacent)
            adjacent = True
        elif heading:
            adjacent = False
            if heading["level"] == "##":
                section = heading["title"]
            elif heading["level"] == "###":
                section = section.partition(": ")[0] + ": " + heading["title"]
        elif line.strip():
            adjacent = False
