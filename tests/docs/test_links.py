"""Links between documents lead somewhere, and paths and modules they name exist."""

import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.blocks import pages
from tests.support.paths import DOCS, ROOT
from windlass.contexts.records.processors import ENTRY_POINTS

_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_MODULE = re.compile(r"`(windlass(?:\.[a-z_]+)+)`")
_PATH = re.compile(r"`((?:src|tests|docs|examples|scripts|tools|benchmarks)/[\w./-]*)`")
DOCUMENTS = [*pages(), ROOT / "CONTRIBUTING.md"]


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _broken(page: Path) -> Iterator[str]:
    text = page.read_text()
    for match in _LINK.finditer(text):
        target, _, anchor = match["target"].partition("#")
        if re.match(r"https?:|mailto:", target):
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in map(_anchor, _HEADING.findall(path.read_text()))):
            yield match["target"]
    yield from (name for name in _MODULE.findall(text) if not _known(name))
    yield from (name for name in _PATH.findall(text) if not (ROOT / name).exists())


def _known(name: str) -> bool:
    """Whether a dotted name is a module, something in one, or a group of entry points."""
    home, _, last = name.rpartition(".")
    module = import_module(home)
    return name == ENTRY_POINTS or hasattr(module, last) or find_spec(name) is not None


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_document_points_to_is_there(page: Path) -> None:
    assert list(_broken(page)) == []


def test_every_document_can_be_found_from_the_index() -> None:
    linked = {
        (page.parent / match["target"].partition("#")[0]).resolve()
        for page in (DOCS / "index.md", DOCS / "decisions" / "README.md", ROOT / "README.md")
        for match in _LINK.finditer(page.read_text())
    }

    assert [str(page) for page in DOCS.rglob("*.md") if page not in linked and page.name != "index.md"] == []
